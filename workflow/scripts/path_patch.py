"""Score heads of a model: all heads in the whole chain of searches, or those of some layers in one search."""

from pathlib import Path

import numpy as np

from _run import job
from entity_mech.engine.partial import Partial
from entity_mech.engine.stage import open_model, stamp_of
from entity_mech.engine.store import open_store, read_head_outputs
from entity_mech.files import read_table
from entity_mech.methods.head_scores import joined_table, shard_layers, write_effects
from entity_mech.methods.path_patching import Chain, ScoredPrompts, run_chain
from entity_mech.methods.searches import options_from, searches_from
from entity_mech.provenance import digest_of, file_digest
from entity_mech.task.tokens import read_prompts

with job(snakemake):
    given, wildcards, machine = snakemake.input, snakemake.wildcards, snakemake.params.machine
    options, shards = snakemake.params.options, snakemake.params.shards
    decoder, info = open_model(given.model, machine["device"])
    searches, expected = searches_from(snakemake.params.searches), stamp_of(info, given.tokens)
    wanted = [search for search in searches if search.name in snakemake.params.run]
    before = [search for search in searches if search not in wanted]
    layers = None if shards == 1 else shard_layers(info["n_layers"], int(wildcards.shard), shards)
    with open_store(given.activations, expected) as file:
        stamp = {
            **expected,
            "config": digest_of({"searches": snakemake.params.searches, "options": options}),
            "code": snakemake.params.code,
            "activations": f"{file.attrs['config']} {file.attrs['code']}",
            "earlier": digest_of([file_digest(path) for path in given.earlier]),
        }
        prompts = read_prompts(given.tokens, "clean")
        rows = np.arange(len(prompts))
        if given.answers:
            rows = np.flatnonzero(read_table(given.answers)["correct"])
        part = {**stamp, "layers": str(layers), "rows": digest_of(rows.tolist())}
        partial = Partial(Path(snakemake.output.effects[0]).with_suffix(".partial.h5"), part)
        stored = {kind: read_head_outputs(file[kind]) for kind in ("corrupted", "null") if kind in file}
        scored = ScoredPrompts(prompts, lambda kind, role, chosen: stored[kind].every(role, chosen), rows)
        size = (info["n_layers"], info["n_heads"])
        earlier = {}
        for one in before:
            files = [path for path in given.earlier if Path(path).parent.name == one.name]
            earlier[one.name] = joined_table(one, files, expected, *size)
        found = run_chain(Chain(decoder, scored, options_from(options, machine), partial, layers), wanted, earlier)
    for search, path in zip(wanted, snakemake.output.effects, strict=True):
        everything = list(range(info["n_layers"])) if layers is None else layers
        write_effects(path, stamp, everything, rows, found[search.name])
    partial.remove()
