"""What every pair of circuits shares, and how alike the models' score maps are."""

from _run import job
from entity_mech.files import read_table, write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.overlap import overlap, score_correlation
from entity_mech.models.loading import read_model

with job(snakemake):
    given, models = snakemake.input, snakemake.params.models
    infos = {model: read_model(path) for model, path in zip(models, given.models, strict=True)}
    sizes = {model: (info["n_layers"], info["n_heads"]) for model, info in infos.items()}
    scores = {model: read_table(path) for model, path in zip(snakemake.params.scored, given.scores, strict=True)}
    write_table(snakemake.output.overlap, overlap([read_circuit(path) for path in given.circuits], sizes, scores))
    write_table(snakemake.output.correlation, score_correlation(scores))
