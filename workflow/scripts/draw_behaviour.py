"""Draw how well each model tracks entities."""

from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.figures.accuracy import accuracy
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    drawing = accuracy(Study.from_dict(snakemake.params.study), read_table(snakemake.input.behaviour))
    save_drawing(drawing, Path(snakemake.output.png).with_suffix(""), **snakemake.params.options)
