"""Run one search on the heads of some of a model's layers."""

from pathlib import Path

import numpy as np

from _run import job
from entity_mech.engine.partial import Partial
from entity_mech.engine.stage import open_model, stamp_of
from entity_mech.engine.store import open_store, read_head_outputs
from entity_mech.files import read_table
from entity_mech.methods.search_shards import join_table, run_shard, shard_layers, write_shard
from entity_mech.methods.searches import options_from, searches_from
from entity_mech.provenance import file_digest, value_digest
from entity_mech.task.tokens import read_prompts

with job(snakemake):
    machine, options = snakemake.params.machine, snakemake.params.options
    decoder, info = open_model(snakemake.input.model, machine["device"])
    *before, search = searches_from(snakemake.params.searches)
    expected = stamp_of(info, snakemake.input.tokens)
    earlier = {
        one.name: [file for file in snakemake.input.earlier if Path(file).parent.name == one.name] for one in before
    }
    size = (info["n_layers"], info["n_heads"])
    with open_store(snakemake.input.activations, expected) as file:
        stamp = {
            **expected,
            "config": value_digest({"searches": snakemake.params.searches, "options": options}),
            "code": snakemake.params.code,
            "activations": f"{file.attrs['config']} {file.attrs['code']}",
            "earlier": value_digest([file_digest(path) for path in snakemake.input.earlier]),
        }
        layers = shard_layers(info["n_layers"], int(snakemake.wildcards.shard), snakemake.params.shards)
        prompts = read_prompts(snakemake.input.tokens, "clean")
        rows = np.arange(len(prompts))
        if snakemake.input.answers:
            rows = np.flatnonzero(read_table(snakemake.input.answers)["correct"])
        part = {**stamp, "layers": str(layers), "rows": value_digest(rows.tolist())}
        partial = Partial(Path(snakemake.output.effects).with_suffix(".partial.h5"), part)
        stored = {kind: read_head_outputs(file[kind]) for kind in ("corrupted", "null")}
        effects = run_shard(
            decoder,
            prompts,
            lambda kind, role, chosen: stored[kind].every(role, chosen),
            search,
            {one.name: join_table(one, earlier[one.name], expected, *size) for one in before},
            rows,
            layers,
            options_from(options, machine),
            partial,
        )
    write_shard(snakemake.output.effects, stamp, layers, rows, effects)
    partial.remove()
