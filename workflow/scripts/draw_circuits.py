"""Draw each model's circuit over the words of a prompt."""

from pathlib import Path

from _run import job
from entity_mech.files import read_json, read_table
from entity_mech.reporting.figures.circuit_diagram import circuit_diagram
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import save_drawing

with job(snakemake):
    study, circuits = Study.from_dict(snakemake.params.study), read_table(snakemake.input.circuits)
    for model, path, png in zip(study.models, snakemake.input.models, snakemake.output.png, strict=True):
        own = circuits[circuits["model"] == model].drop(columns="model")
        drawing = circuit_diagram(study, model, own, read_json(Path(path))["n_layers"])
        save_drawing(drawing, Path(png).with_suffix(""), **snakemake.params.options)
