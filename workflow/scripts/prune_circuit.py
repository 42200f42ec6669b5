"""Prune a model's candidates, put back what that broke, and write the circuit and its tables."""

from pathlib import Path

from _run import job, warn
from entity_mech.engine.partial import Partial
from entity_mech.engine.stage import load_means, open_model, read_prompts_like, stamp_of
from entity_mech.files import read_checked_json, read_table, write_table
from entity_mech.methods.circuits import read_circuit, write_circuit
from entity_mech.methods.pruning import PruningOptions, join_pairs, prune_circuit
from entity_mech.methods.put_back import put_back, put_back_json
from entity_mech.methods.sense import NOT_FOUND, NOT_NEEDED, broken_pruning, coarse_pruning, empty_groups
from entity_mech.methods.stability import write_judged
from entity_mech.provenance import file_digest, value_digest

with job(snakemake):
    given, options = snakemake.input, snakemake.params.options
    decoder, info = open_model(given.model, snakemake.params.machine["device"])
    prompts = read_prompts_like(given.tokens, given.ablation)
    means = load_means(decoder, info, given.means, given.ablation, snakemake.params.by_role)
    candidates, kept = read_circuit(given.candidates), read_checked_json(given.candidates)["keep"]
    pairs = join_pairs(candidates, [read_table(file) for file in given.shards]) if given.shards else None
    provenance = {
        **stamp_of(info, given.tokens),
        "config": value_digest({"keep": kept, "options": options, "by_role": snakemake.params.by_role}),
        "code": snakemake.params.code,
    }
    partial = Partial(
        Path(snakemake.output.pairs).with_suffix(".partial.h5"),
        {**provenance, "candidates": file_digest(given.candidates), "means": file_digest(given.means)},
    )
    rule = PruningOptions(**{name: value for name, value in options.items() if name != "tf32"})
    minimal = prune_circuit(decoder, prompts, means, candidates, rule, pairs, partial)
    found = put_back(decoder, prompts, means, candidates, minimal, rule)
    numbers = found.summary.iloc[0].to_dict()
    empty = [group for group in found.circuit.groups if not group.heads]
    warn(
        broken_pruning(decoder.name, numbers),
        coarse_pruning(decoder.name, numbers),
        empty_groups(decoder.name, [f"group {one.letter}" for one in empty if not one.candidates], NOT_FOUND),
        empty_groups(decoder.name, [f"group {one.letter}" for one in empty if one.candidates], NOT_NEEDED),
    )
    write_circuit(
        snakemake.output.circuit,
        found.circuit,
        threshold=options["threshold"],
        keep=kept,
        put_back=put_back_json(found.returned),
        provenance=provenance,
    )
    write_table(snakemake.output.pairs, minimal.pairs)
    write_table(snakemake.output.significance, found.significance)
    write_table(snakemake.output.summary, found.summary)
    write_judged(snakemake.output.judged, provenance, prompts.scene, found.judged)
    partial.remove()
