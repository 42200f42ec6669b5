"""Run the chain of path-patching searches on a model."""

from pathlib import Path

from _run import job
from entity_mech.engine.partial import Partial
from entity_mech.engine.stage import open_model, stamp_of
from entity_mech.engine.store import open_store, read_head_outputs
from entity_mech.files import write_table
from entity_mech.methods.path_patching import run_chain
from entity_mech.methods.searches import options_from, searches_from
from entity_mech.methods.stability import write_effects
from entity_mech.provenance import digest_of
from entity_mech.task.tokens import read_prompts

with job(snakemake):
    machine, options = snakemake.params.machine, snakemake.params.options
    decoder, info = open_model(snakemake.input.model, machine["device"])
    expected = stamp_of(info, snakemake.input.tokens)
    with open_store(snakemake.input.activations, expected) as file:
        made_from = {
            "config": digest_of({"searches": snakemake.params.searches, "options": options}),
            "code": snakemake.params.code,
            "activations": f"{file.attrs['config']} {file.attrs['code']}",
        }
        partial = Partial(Path(snakemake.output.scores).with_suffix(".partial.h5"), {**expected, **made_from})
        prompts = read_prompts(snakemake.input.tokens, "clean")
        stored = {kind: read_head_outputs(file[kind]) for kind in ("corrupted", "null")}
        found = run_chain(
            decoder,
            prompts,
            lambda kind, role, rows: stored[kind].every(role, rows),
            searches_from(snakemake.params.searches),
            options_from(options, machine),
            partial,
        )
    write_table(snakemake.output.scores, found.table.drop(columns="candidate"))
    write_effects(snakemake.output.effects, {**expected, **made_from}, prompts.scene[found.rows], found.relative)
    partial.remove()
