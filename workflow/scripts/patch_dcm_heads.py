"""Patch the heads that a circuit's masks chose in a model, on fresh pairs."""

from _run import job
from entity_mech.engine.stage import open_model
from entity_mech.files import read_table, write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.dcm_transfer import FreshPairs, head_sets, patch_chosen_heads
from entity_mech.methods.fresh_sources import with_sources
from entity_mech.task.tokens import groups_of, read_pairs

with job(snakemake):
    given, machine = snakemake.input, snakemake.params.machine
    decoder, _ = open_model(given.model, machine["device"])
    sets = head_sets(read_circuit(given.circuit), read_table(given.heads))
    names = [name.removesuffix("/source") for name in groups_of(given.tokens) if name.endswith("/source")]

    def fresh(kind):
        heads = list(dict.fromkeys(head for one in sets if one.desideratum == kind for head in one.heads))
        parts = sorted(name for name in names if name.startswith(f"{kind}/"))
        pairs = (read_pairs(given.tokens, part) for part in parts)
        return FreshPairs(kind, kind, [with_sources(decoder, each, heads, machine["batch_size"]) for each in pairs])

    found = patch_chosen_heads(
        decoder,
        sets,
        (fresh(kind) for kind in dict.fromkeys(one.desideratum for one in sets)),
        machine["batch_size"],
    )
    write_table(snakemake.output.summary, found.summary)
    write_table(snakemake.output.resamples, found.resamples)
    write_table(snakemake.output.answers, found.answers)
