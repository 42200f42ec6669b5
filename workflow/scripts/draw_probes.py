"""Draw what a group means by position."""

from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.figures.patched_heads import probes
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    study = Study.from_dict(snakemake.params.study)
    results, masks = read_table(snakemake.input.results), read_table(snakemake.input.masks)
    drawing = probes(study, results, snakemake.params.letter, masks)
    save_drawing(drawing, Path(snakemake.output.png).with_suffix(""), **snakemake.params.options)
