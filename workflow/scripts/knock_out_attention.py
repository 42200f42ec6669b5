"""Accuracy when attention from one token to another is blocked from some layer up."""

from _run import job
from entity_mech.engine.stage import open_model
from entity_mech.files import write_table
from entity_mech.methods.knockout import KnockoutOptions, run_knockout
from entity_mech.task.seeds import seed_for
from entity_mech.task.tokens import read_prompts

with job(snakemake):
    machine = snakemake.params.machine
    decoder, _ = open_model(snakemake.input.model, machine["device"])
    seed = seed_for(snakemake.params.options["seed"], "knockout")
    options = KnockoutOptions(seed=seed, batch=machine["batch_size"])
    prompts = read_prompts(snakemake.input.tokens, "prompts")
    write_table(snakemake.output.knockout, run_knockout(decoder, prompts, options))
