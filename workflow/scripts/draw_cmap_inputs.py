"""Draw inputs of groups patched across models."""

from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.figures.cmap_inputs import cmap_inputs
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    study = Study.from_dict(snakemake.params.study)
    drawing = cmap_inputs(study, read_table(snakemake.input.results), read_table(snakemake.input.behaviour))
    save_drawing(drawing, Path(snakemake.output.png).with_suffix(""), **snakemake.params.options)
