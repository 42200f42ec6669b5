"""Choose a model's candidates from its scores, so that all shards of its pruning judge the same heads."""

from _run import job
from entity_mech.engine.stage import load_means, open_model, read_prompts_like
from entity_mech.files import read_table
from entity_mech.methods.candidates import choose_circuit, resolve_knee
from entity_mech.methods.circuits import write_circuit
from entity_mech.methods.pruning import circuit_accuracy

with job(snakemake):
    given, keep = snakemake.input, snakemake.params.keep
    decoder, info = open_model(given.model, snakemake.params.machine["device"])
    means = load_means(decoder, info, given.means, given.ablation)
    accuracy = circuit_accuracy(decoder, read_prompts_like(given.tokens, given.ablation), means)
    scores = read_table(given.scores)
    kept = resolve_knee(info["name"], scores, keep, accuracy)
    write_circuit(snakemake.output.candidates, choose_circuit(info["name"], scores, kept), keep=kept)
