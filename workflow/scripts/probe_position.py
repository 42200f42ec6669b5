"""What a group means by position: masks trained on each probe, and position heads patched on each probe."""

from _run import job
from entity_mech.engine.stage import open_model
from entity_mech.files import read_table, write_table
from entity_mech.methods.circuits import Circuit, read_circuit
from entity_mech.methods.dcm import DcmOptions, Desideratum, run_dcm
from entity_mech.methods.dcm_transfer import FreshPairs, head_sets, patch_chosen_heads
from entity_mech.methods.fresh_sources import with_sources
from entity_mech.methods.head_patching import heads_at
from entity_mech.task.pair_kinds import PLAIN_PROBE, PROBES
from entity_mech.task.seeds import seed_for
from entity_mech.task.tokens import groups_of, read_pairs

KEYS = ("learning_rate", "penalty", "epochs", "batch_size", "validate_every", "ties")

with job(snakemake):
    given, options, machine = snakemake.input, snakemake.params.options, snakemake.params.machine
    decoder, _ = open_model(given.model, machine["device"])
    circuits = [read_circuit(path) for path in dict.fromkeys([given.circuit, given.base_circuit])]
    probed = [Circuit(one.model, (one.group(options["group"]),)) for one in circuits]
    tables = {circuits[0].model: read_table(given.heads), circuits[-1].model: read_table(given.base_heads)}
    own = probed[0]
    heads = [head for group in own.groups for head in heads_at(group)]

    there = groups_of(given.tokens)
    kinds = [kind for kind in (PLAIN_PROBE, *PROBES) if f"{kind}/test" in there]

    def part(name, chosen):
        return with_sources(decoder, read_pairs(given.tokens, name), chosen, machine["batch_size"])

    chosen = DcmOptions(**{key: options[key] for key in KEYS}, seed=seed_for(options["seed"], "probes"))
    desiderata = [
        Desideratum(kind, *(part(f"{kind}/{name}", heads) for name in ("train", "validation", "test")))
        for kind in kinds
    ]
    write_table(snakemake.output.masks, run_dcm(decoder, own, desiderata, chosen).summary)
    sets = [one for circuit in probed for one in head_sets(circuit, tables[circuit.model])]
    sets = [one for one in sets if one.desideratum == "position"]
    needed = list(dict.fromkeys(head for one in sets for head in one.heads))
    pairs = (FreshPairs(kind, "position", [part(f"{kind}/test", needed)]) for kind in kinds)
    found = patch_chosen_heads(decoder, sets, pairs, machine["batch_size"])
    write_table(snakemake.output.patched, found.summary)
