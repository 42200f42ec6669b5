"""Train a mask over each group of a model's circuit for each desideratum, and report it on fresh pairs."""

from pathlib import Path

from _run import job
from entity_mech.engine.load import load_checked
from entity_mech.engine.store import open_store, read_head_outputs
from entity_mech.files import write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.dcm import DcmOptions, Desideratum, run_dcm
from entity_mech.methods.head_patching import PatchData
from entity_mech.models.loading import read_model
from entity_mech.task.seeds import seed_for
from entity_mech.task.tokens import read_attributes, read_pairs

KEYS = ("learning_rate", "penalty", "epochs", "batch_size", "validate_every", "ties")

with job(snakemake):
    model, machine, options = Path(snakemake.input.model), snakemake.params.machine, snakemake.params.options
    info, tokens = read_model(model), snakemake.input.tokens
    expected = {
        "model": info["name"],
        "fingerprint": info["fingerprint"],
        "dtype": info["dtype"],
        "dataset": read_attributes(tokens)["dataset"],
    }
    chosen = DcmOptions(**{key: options[key] for key in KEYS}, seed=seed_for(options["seed"], "dcm"))
    decoder = load_checked(model, machine["device"], info["dtype"])
    with open_store(snakemake.input.activations, expected) as file:

        def part(name):
            return PatchData(read_pairs(tokens, name), read_head_outputs(file[f"{name}/source"]))

        desiderata = [
            Desideratum(kind, part(f"{kind}/train"), part(f"{kind}/validation"), part(f"{kind}/test"))
            for kind in options["desiderata"]
        ]
        found = run_dcm(decoder, read_circuit(snakemake.input.circuit), desiderata, chosen)
    write_table(snakemake.output.results, found.summary)
    write_table(snakemake.output.curves, found.curves)
    write_table(snakemake.output.heads, found.heads)
    write_table(snakemake.output.answers, found.answers)
