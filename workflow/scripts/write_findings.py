"""Answer the study's questions from its tables."""

from _run import job
from entity_mech.files import read_table, write_table, write_text
from entity_mech.reporting.finding import findings_table
from entity_mech.reporting.findings import find, findings_markdown
from entity_mech.reporting.index_page import models_table
from entity_mech.reporting.study import Study

with job(snakemake):
    study = Study.from_dict(snakemake.params.study)
    tables = {
        name: read_table(path) for name, path in zip(snakemake.params.names, snakemake.input.tables, strict=True)
    }
    findings = find(study, tables)
    write_text(snakemake.output.page, findings_markdown(study, findings, snakemake.params.run))
    write_table(snakemake.output.table, findings_table(findings))
    write_table(snakemake.output.models, models_table(study, tables, findings))
