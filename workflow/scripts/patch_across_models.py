"""Patch head outputs of a fine-tuned model into its base and back, group by group, by both models' circuits."""

from contextlib import ExitStack

from _run import job
from entity_mech.files import read_table, write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.cmap import CmapOptions, cmap_parts, heads_of_both, run_cmap
from entity_mech.methods.cmap_sides import open_side
from entity_mech.task.seeds import seed_for

with job(snakemake), ExitStack() as opened:
    machine, options, given = snakemake.params.machine, snakemake.params.options, snakemake.input
    base = open_side(given.base, given.base_tokens, given.base_activations, machine["device"], opened)
    tuned = open_side(given.model, given.tokens, given.activations, machine["device"], opened)
    circuits = {tuned.name: read_circuit(given.circuit), base.name: read_circuit(given.base_circuit)}
    heads = {tuned.name: read_table(given.heads), base.name: read_table(given.base_heads)}
    parts = {name: cmap_parts(circuits[name], heads[name], options["choice"]) for name in circuits}
    chosen = CmapOptions(
        random_draws=options["random_draws"],
        directions=tuple(options["directions"]),
        choice=options["choice"],
        seed=seed_for(options["seed"], "cmap", tuned.name),
        batch=machine["batch_size"],
    )
    write_table(snakemake.output.results, run_cmap(base, tuned, parts, heads_of_both(*circuits.values()), chosen))
