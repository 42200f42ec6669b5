"""Draw accuracy against the number of heads."""

from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.figures.circuit_size import circuit_size
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    study = Study.from_dict(snakemake.params.study)
    drawing = circuit_size(study, read_table(snakemake.input.curve), read_table(snakemake.input.summary))
    save_drawing(drawing, Path(snakemake.output.png).with_suffix(""), **snakemake.params.options)
