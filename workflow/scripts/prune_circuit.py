"""Choose a model's candidates from its scores, prune them, and write the circuit with both tables."""

from pathlib import Path

import torch

from _run import job
from entity_mech.engine.circuit_batches import circuit_correct
from entity_mech.engine.load import load_checked
from entity_mech.engine.partial import Partial
from entity_mech.engine.store import open_store, read_means
from entity_mech.files import read_table, write_table
from entity_mech.methods.candidates import choose_circuit, resolve_knee
from entity_mech.methods.circuits import write_circuit
from entity_mech.methods.pruning import PruningOptions, prune_circuit
from entity_mech.models.loading import read_model
from entity_mech.provenance import digest_of, file_digest
from entity_mech.task.tokens import check_same_layout, read_attributes, read_prompts

with job(snakemake):
    model, machine, options = Path(snakemake.input.model), snakemake.params.machine, snakemake.params.options
    info, keep = read_model(model), snakemake.params.keep
    facts = {"model": info["name"], "fingerprint": info["fingerprint"], "dtype": info["dtype"]}
    prompts = read_prompts(snakemake.input.tokens, "prompts")
    check_same_layout(prompts, read_prompts(snakemake.input.ablation, "prompts"), "pruning and ablation prompts")
    decoder = load_checked(model, machine["device"], info["dtype"])
    expected = {**facts, "dataset": read_attributes(snakemake.input.ablation)["dataset"]}
    with open_store(snakemake.input.means, expected) as file:
        means = torch.as_tensor(read_means(file["prompts"]), device=decoder.device, dtype=decoder.dtype)

    def accuracy(circuits):
        size = (info["n_layers"], info["n_heads"])
        masks = torch.stack([torch.as_tensor(c.to_mask(c.roles, *size)) for c in circuits]).numpy()
        return circuit_correct(decoder, prompts, means, circuits[0].roles, masks, label="knee").mean(1)

    scores = read_table(snakemake.input.scores)
    kept = resolve_knee(info["name"], scores, keep, accuracy)
    chosen = choose_circuit(info["name"], scores, kept)
    provenance = {
        **facts,
        "dataset": read_attributes(snakemake.input.tokens)["dataset"],
        "config": digest_of({"keep": keep, "options": options}),
        "code": snakemake.params.code,
    }
    partial = Partial(
        Path(snakemake.output.pairs).with_suffix(".partial.h5"),
        {**provenance, "scores": file_digest(snakemake.input.scores), "means": file_digest(snakemake.input.means)},
    )
    found = prune_circuit(
        decoder,
        prompts,
        means,
        chosen,
        PruningOptions(options["threshold"], options["knockout_fraction"]),
        partial=partial,
    )
    write_circuit(
        snakemake.output.circuit, found.circuit, threshold=options["threshold"], keep=kept, provenance=provenance
    )
    write_table(snakemake.output.pairs, found.pairs)
    write_table(snakemake.output.significance, found.significance)
    partial.remove()
