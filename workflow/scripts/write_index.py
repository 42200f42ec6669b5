"""Write the run's page, and the page of all runs beside it."""

from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.index_page import write_index
from entity_mech.reporting.runs_page import write_runs
from entity_mech.reporting.study import Study

with job(snakemake):
    run = Path(snakemake.output.page).parent
    tables = {
        name: read_table(path) for name, path in zip(snakemake.params.names, snakemake.input.tables, strict=True)
    }
    study = Study.from_param(snakemake.params.study)
    drawn = snakemake.input.figures
    write_index(run, study, snakemake.params.config, tables, skip=[snakemake.rule], drawn=drawn)
    write_runs(run.parent, own=run.name)
