"""Patch inputs (q, k, v) of the groups at the last token between a fine-tuned model and its base."""

from contextlib import ExitStack

from _run import job
from entity_mech.files import read_table, write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.cmap import CmapOptions, cmap_parts, heads_of_both
from entity_mech.methods.cmap_inputs import run_cmap_inputs
from entity_mech.methods.cmap_sides import open_side
from entity_mech.task.seeds import seed_for

with job(snakemake), ExitStack() as opened:
    machine, options, given = snakemake.params.machine, snakemake.params.options, snakemake.input
    base = open_side(given.base, given.base_tokens, given.base_activations, machine["device"], opened)
    tuned = open_side(given.model, given.tokens, given.activations, machine["device"], opened)
    circuits = {tuned.name: read_circuit(given.circuit), base.name: read_circuit(given.base_circuit)}
    heads = {tuned.name: read_table(given.heads), base.name: read_table(given.base_heads)}
    parts = {
        name: [
            part
            for part in cmap_parts(circuits[name], heads[name], options["choice"])
            if part.name in options["letters"]
        ]
        for name in circuits
    }
    chosen = CmapOptions(
        random_draws=options["random_draws"],
        directions=tuple(options["directions"]),
        choice=options["choice"],
        seed=seed_for(options["seed"], "cmap_inputs", tuned.name),
        batch=machine["batch_size"],
    )
    write_table(
        snakemake.output.results, run_cmap_inputs(base, tuned, parts, heads_of_both(*circuits.values()), chosen)
    )
