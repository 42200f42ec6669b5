"""Draw one figure of the table of stages, or one for each model, each beside its own table."""

from importlib import import_module
from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    figure, study = snakemake.params.figure, Study.from_param(snakemake.params.study)
    draw = getattr(import_module(figure["module"]), figure["function"])
    paths = dict(snakemake.input.items())
    # A run of models whose circuits were given lacks some tables.
    tables = [read_table(paths[name]) if name in paths else None for name in figure["tables"]]
    models, shown = snakemake.params.models, [tables]
    if models is not None:
        shown = [[table if table is None else table[table["model"] == model] for table in tables] for model in models]
    for given, png in zip(shown, snakemake.output.png, strict=True):
        save_drawing(draw(study, *given), Path(png).with_suffix(""), **snakemake.params.options)
