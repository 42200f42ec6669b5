"""Draw what each group carries, and how its masks were trained."""

from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.figures.dcm import dcm, dcm_curves
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    study = Study.from_dict(snakemake.params.study)
    tables = read_table(snakemake.input.results), read_table(snakemake.input.curves)
    for draw, table, png in zip((dcm, dcm_curves), tables, snakemake.output.png, strict=True):
        save_drawing(draw(study, table), Path(png).with_suffix(""), **snakemake.params.options)
