"""Accuracy of a model's circuit without some of the pairs of heads."""

from pathlib import Path

from _run import job
from entity_mech.engine.partial import Partial
from entity_mech.engine.stage import load_means, open_model, read_prompts_like, stamp_of
from entity_mech.files import write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.pruning import all_pairs, pair_table, removal_accuracy, shard_pairs
from entity_mech.provenance import file_digest

with job(snakemake):
    given, shard, shards = snakemake.input, int(snakemake.wildcards.shard), snakemake.params.shards
    decoder, info = open_model(given.model, snakemake.params.machine["device"])
    means = load_means(decoder, info, given.means, given.ablation, snakemake.params.by_role)
    circuit = read_circuit(given.candidates)
    files = {name: file_digest(given[name]) for name in ("candidates", "means")}
    files["by_role"] = " ".join(snakemake.params.by_role)
    stamp = {**stamp_of(info, given.tokens), **files, "code": snakemake.params.code, "shard": f"{shard} of {shards}"}
    partial = Partial(Path(snakemake.output.pairs).with_suffix(".partial.h5"), stamp)
    accuracy = removal_accuracy(decoder, read_prompts_like(given.tokens, given.ablation), means, circuit)
    write_table(snakemake.output.pairs, pair_table(shard_pairs(all_pairs(circuit), shard, shards), accuracy, partial))
    partial.remove()
