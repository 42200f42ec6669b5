"""Draw every circuit's chosen heads in every model."""

from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.figures.patched_heads import patched_heads
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    study = Study.from_dict(snakemake.params.study)
    drawing = patched_heads(study, read_table(snakemake.input.results))
    save_drawing(drawing, Path(snakemake.output.png).with_suffix(""), **snakemake.params.options)
