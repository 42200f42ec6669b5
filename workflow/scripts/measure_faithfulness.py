"""Run a circuit, its ceiling and random circuits of its size in a model."""

from pathlib import Path

import torch

from _run import job
from entity_mech.engine.load import load_checked
from entity_mech.engine.store import open_store, read_means
from entity_mech.files import read_table, write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.faithfulness import faithfulness
from entity_mech.models.loading import read_model
from entity_mech.task.seeds import seed_for
from entity_mech.task.tokens import check_same_layout, read_attributes, read_prompts

with job(snakemake):
    model, machine, options = Path(snakemake.input.model), snakemake.params.machine, snakemake.params.options
    info = read_model(model)
    prompts = read_prompts(snakemake.input.tokens, "prompts")
    check_same_layout(prompts, read_prompts(snakemake.input.ablation, "prompts"), "evaluation and ablation prompts")
    decoder = load_checked(model, machine["device"], info["dtype"])
    expected = {
        "model": info["name"],
        "fingerprint": info["fingerprint"],
        "dtype": info["dtype"],
        "dataset": read_attributes(snakemake.input.ablation)["dataset"],
    }
    with open_store(snakemake.input.means, expected) as file:
        means = torch.as_tensor(read_means(file["prompts"]), device=decoder.device, dtype=decoder.dtype)
    table = faithfulness(
        decoder,
        prompts,
        means,
        read_circuit(snakemake.input.circuit),
        read_table(snakemake.input.behaviour)["correct"].to_numpy(dtype=bool),
        draws=options["random_circuits"],
        seed=seed_for(options["seed"], "faithfulness", snakemake.wildcards.circuit),
    )
    write_table(snakemake.output.faithfulness, table)
