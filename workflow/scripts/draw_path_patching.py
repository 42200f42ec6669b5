"""Draw the layer-by-head maps of each model's searches, with its candidates and its circuit marked."""

from pathlib import Path

from _run import job
from entity_mech.files import read_table
from entity_mech.reporting.figures.score_maps import score_maps
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    study = Study.from_dict(snakemake.params.study)
    scores, circuits = read_table(snakemake.input.scores), read_table(snakemake.input.circuits)
    for model, png in zip(study.models, snakemake.output.png, strict=True):
        own = circuits[circuits["model"] == model].drop(columns="model").assign(candidate=True)
        table = scores[scores["model"] == model].drop(columns="model")
        table = table.merge(own[["search", "layer", "head", "candidate"]], "left")
        table["candidate"] = table["candidate"].eq(True)
        drawing = score_maps(study, table, own.drop(columns="candidate"))
        save_drawing(drawing, Path(png).with_suffix(""), **snakemake.params.options)
