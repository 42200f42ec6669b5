"""Store head outputs of a model for one purpose, or their means by position."""

from pathlib import Path

from _run import job
from entity_mech.engine.load import load_checked
from entity_mech.engine.store import create_store, store_head_outputs, store_means
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.head_patching import heads_at
from entity_mech.models.loading import read_model
from entity_mech.provenance import value_digest
from entity_mech.task.tokens import groups_of, read_attributes, read_prompts

GROUPS = {"discovery": ("corrupted", "null"), "means": ("prompts",), "evaluation": ("prompts",)}

with job(snakemake):
    model, machine, options = Path(snakemake.input.model), snakemake.params.machine, snakemake.params.options
    info, tokens, purpose = read_model(model), snakemake.input.tokens, snakemake.wildcards.purpose
    groups, roles, heads = GROUPS.get(purpose), options["roles"], None
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
            prompts, group = read_prompts(tokens, name), file.create_group(name)
            if purpose == "means":
                store_means(decoder, prompts, group, machine["batch_size"])
            else:
                store_head_outputs(decoder, prompts, roles, group, machine["batch_size"], heads)
