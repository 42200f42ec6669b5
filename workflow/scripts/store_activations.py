"""Store head outputs of a model for one purpose, or their means by position and by role."""

from pathlib import Path

from _run import job
from entity_mech.engine.load import load_checked
from entity_mech.engine.role_means import store_ablation
from entity_mech.engine.stage import read_ablation_prompts
from entity_mech.engine.store import create_store, store_head_outputs
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.head_patching import heads_at
from entity_mech.models.loading import read_model
from entity_mech.provenance import value_digest
from entity_mech.task.tokens import groups_of, read_attributes, read_prompts

with job(snakemake):
    model, machine, options = Path(snakemake.input.model), snakemake.params.machine, snakemake.params.options
    info, tokens, purpose = read_model(model), snakemake.input.tokens, snakemake.wildcards.purpose
    groups, roles, heads = options.get("groups"), options.get("roles"), None
    if purpose == "dcm":
        circuit = read_circuit(snakemake.input.circuit)
        groups = [name for name in groups_of(tokens) if name.endswith("/source")]
        roles, heads = circuit.roles, [head for group in circuit.groups for head in heads_at(group)]
    provenance = {
        "model": info["name"],
        "fingerprint": info["fingerprint"],
        "dtype": info["dtype"],
        "dataset": read_attributes(tokens)["dataset"],
        "config": value_digest(options),
        "code": snakemake.params.code,
    }
    decoder = load_checked(model, machine["device"], info["dtype"])
    with create_store(snakemake.output.activations, provenance) as file:
        for name in groups:
            group, batch = file.create_group(name), machine["batch_size"]
            if purpose == "means":
                store_ablation(decoder, read_ablation_prompts(tokens), group, batch)
            else:
                store_head_outputs(decoder, read_prompts(tokens, name), roles, group, batch, heads)
