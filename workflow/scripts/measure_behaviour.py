"""Ask the whole model the prompts of a split."""

from pathlib import Path

from _run import job, warn
from entity_mech.engine.load import load_checked
from entity_mech.files import write_table
from entity_mech.methods.behaviour import behaviour
from entity_mech.methods.sense import weak_model
from entity_mech.models.loading import read_model
from entity_mech.task.tokens import read_prompts

with job(snakemake):
    model, machine = Path(snakemake.input.model), snakemake.params.machine
    decoder = load_checked(model, machine["device"], read_model(model)["dtype"])
    clean = "clean" if snakemake.wildcards.split == "discovery" else "prompts"
    prompts = read_prompts(snakemake.input.tokens, clean)
    table = behaviour(decoder, prompts, machine["batch_size"])
    warn(weak_model(decoder.name, table["correct"].mean(), snakemake.config["findings"]["low_accuracy"]))
    write_table(snakemake.output.behaviour, table)
