"""Choose a model's candidates from its scores, prune them, and write the circuit with both tables.

With shards, candidates and the table of pairs are there already.
"""

from pathlib import Path

from _run import job
from entity_mech.engine.partial import Partial
from entity_mech.engine.stage import load_means, open_model, read_prompts_like, stamp_of
from entity_mech.files import read_json, read_table, write_table
from entity_mech.methods.candidates import choose_circuit, resolve_knee
from entity_mech.methods.circuits import read_circuit, write_circuit
from entity_mech.methods.pruning import PruningOptions, circuit_accuracy, join_pairs, prune_circuit
from entity_mech.methods.stability import write_judged
from entity_mech.provenance import digest_of, file_digest

with job(snakemake):
    given, keep, options = snakemake.input, snakemake.params.keep, snakemake.params.options
    decoder, info = open_model(given.model, snakemake.params.machine["device"])
    prompts = read_prompts_like(given.tokens, given.ablation)
    means = load_means(decoder, info, given.means, given.ablation)
    if given.candidates:
        chosen, kept = read_circuit(given.candidates), read_json(given.candidates)["keep"]
        pairs = join_pairs(chosen, [read_table(file) for file in given.shards])
    else:
        scores, pairs = read_table(given.scores), None
        kept = resolve_knee(info["name"], scores, keep, circuit_accuracy(decoder, prompts, means))
        chosen = choose_circuit(info["name"], scores, kept)
    provenance = {
        **stamp_of(info, given.tokens),
        "config": digest_of({"keep": keep, "options": options}),
        "code": snakemake.params.code,
    }
    partial = Partial(
        Path(snakemake.output.pairs).with_suffix(".partial.h5"),
        {**provenance, "scores": file_digest(given.scores), "means": file_digest(given.means)},
    )
    found = prune_circuit(
        decoder,
        prompts,
        means,
        chosen,
        PruningOptions(options["threshold"], options["knockout_fraction"]),
        pairs,
        partial,
    )
    write_circuit(
        snakemake.output.circuit, found.circuit, threshold=options["threshold"], keep=kept, provenance=provenance
    )
    write_table(snakemake.output.pairs, found.pairs)
    write_table(snakemake.output.significance, found.significance)
    write_judged(snakemake.output.judged, provenance, prompts.scene, found.judged)
    partial.remove()
