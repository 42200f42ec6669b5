"""Draw accuracy with attention blocked between two tokens."""

from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.figures.knockout import knockout
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    study = Study.from_dict(snakemake.params.study)
    drawing = knockout(study, read_table(snakemake.input.results))
    save_drawing(drawing, Path(snakemake.output.png).with_suffix(""), **snakemake.params.options)
