"""Choose a model's candidates from its scores."""

from _run import job
from entity_mech.files import read_checked_json, read_table
from entity_mech.methods.candidates import KNEE, choose_circuit, resolve_knee
from entity_mech.methods.circuits import write_circuit

with job(snakemake):
    given, keep = snakemake.input, snakemake.params.keep
    name, scores, accuracy = read_checked_json(given.model)["name"], read_table(given.scores), None
    if KNEE in keep.values():  # only then a model runs, and torch is worth its loading
        from entity_mech.engine.stage import load_means, open_model, read_prompts_like
        from entity_mech.methods.pruning import circuit_accuracy

        decoder, info = open_model(given.model, snakemake.params.machine["device"])
        means = load_means(decoder, info, given.means, given.ablation, snakemake.params.by_role)
        accuracy = circuit_accuracy(decoder, read_prompts_like(given.tokens, given.ablation), means)
    kept = resolve_knee(name, scores, keep, accuracy)
    write_circuit(snakemake.output.candidates, choose_circuit(name, scores, kept), keep=kept)
