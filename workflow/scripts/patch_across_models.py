"""Patch head outputs of a fine-tuned model into its base and back, group by group, by both models' circuits."""

from contextlib import ExitStack

from _run import job
from entity_mech.files import read_table, write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.cmap import CmapOptions, cmap_parts, run_cmap
from entity_mech.methods.cmap_sides import open_side
from entity_mech.task.seeds import seed_for

with job(snakemake), ExitStack() as opened:
    machine, options, given = snakemake.params.machine, snakemake.params.options, snakemake.input
    base = open_side(given.base, given.base_tokens, given.base_activations, machine["device"], opened)
    tuned = open_side(given.model, given.tokens, given.activations, machine["device"], opened)
    parts = {
        name: cmap_parts(read_circuit(circuit), read_table(heads), options["choice"])
        for name, circuit, heads in (
            (tuned.name, given.circuit, given.heads),
            (base.name, given.base_circuit, given.base_heads),
        )
    }
    chosen = CmapOptions(
        random_draws=options["random_draws"],
        directions=tuple(options["directions"]),
        choice=options["choice"],
        seed=seed_for(options["seed"], "cmap", tuned.name),
        batch=machine["batch_size"],
    )
    write_table(snakemake.output.results, run_cmap(base, tuned, parts, chosen))
