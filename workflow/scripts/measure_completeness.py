"""Remove the same heads from a model's circuit and from the whole model."""

from _run import job
from entity_mech.engine.stage import load_means, open_model, read_prompts_like
from entity_mech.files import write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.completeness import completeness
from entity_mech.task.seeds import seed_for

with job(snakemake):
    given, options = snakemake.input, snakemake.params.options
    decoder, info = open_model(given.model, snakemake.params.machine["device"])
    table = completeness(
        decoder,
        read_prompts_like(given.tokens, given.ablation),
        load_means(decoder, info, given.means, given.ablation, snakemake.params.by_role),
        read_circuit(given.circuit),
        draws=options["random_halves"],
        seed=seed_for(options["seed"], "completeness"),
    )
    write_table(snakemake.output.completeness, table)
