"""Draw what circuits share."""

from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.figures.overlap import overlap
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    study = Study.from_dict(snakemake.params.study)
    drawing = overlap(study, read_table(snakemake.input.overlap), read_table(snakemake.input.correlation))
    save_drawing(drawing, Path(snakemake.output.png).with_suffix(""), **snakemake.params.options)
