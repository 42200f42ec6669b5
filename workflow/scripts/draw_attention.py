"""Draw where each group's strongest heads look, a figure a model."""

from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.figures.attention import attention
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    study = Study.from_dict(snakemake.params.study)
    tables = [read_table(path) for path in (snakemake.input.means, snakemake.input.prompt)]
    for model, png in zip(study.models, snakemake.output.png, strict=True):
        means, prompt = (table[table["model"] == model] for table in tables)
        save_drawing(attention(study, means, prompt), Path(png).with_suffix(""), **snakemake.params.options)
