"""Draw every circuit on every model."""

from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.figures.faithfulness import faithfulness
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    drawing = faithfulness(Study.from_dict(snakemake.params.study), read_table(snakemake.input.faithfulness))
    save_drawing(drawing, Path(snakemake.output.png).with_suffix(""), **snakemake.params.options)
