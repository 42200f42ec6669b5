"""Run the chain of path-patching searches on a model."""

from pathlib import Path

from _run import job
from entity_mech.engine.load import load_checked
from entity_mech.engine.store import open_store, read_head_outputs
from entity_mech.files import write_table
from entity_mech.methods.path_patching import PathPatchingOptions, Search, run_chain
from entity_mech.models.loading import read_model
from entity_mech.task.tokens import read_attributes, read_prompts

with job(snakemake):
    model, machine, options = Path(snakemake.input.model), snakemake.params.machine, snakemake.params.options
    info = read_model(model)
    expected = {
        "model": info["name"],
        "fingerprint": info["fingerprint"],
        "dtype": info["dtype"],
        "dataset": read_attributes(snakemake.input.tokens)["dataset"],
    }
    searches = [
        Search(
            name=search["name"],
            letter=search["letter"],
            token=search["token"],
            receivers=tuple((one["search"], one["input"]) for one in search["receivers"] if one != "logits"),
            receiver_heads=search["receiver_heads"],
            keep=0,  # candidates are chosen by prune_circuit, so that their number can change without a new search
        )
        for search in snakemake.params.searches
    ]
    decoder = load_checked(model, machine["device"], info["dtype"])
    with open_store(snakemake.input.activations, expected) as file:
        stored = {kind: read_head_outputs(file[kind]) for kind in ("corrupted", "null")}
        table = run_chain(
            decoder,
            read_prompts(snakemake.input.tokens, "clean"),
            lambda kind, role, rows: stored[kind].every(role, rows),
            searches,
            PathPatchingOptions(
                correct_only=options["prompts"] == "correct",
                null=options["null_map"],
                batch_size=machine["batch_size"],
                max_rows=machine["rows"],
            ),
        )
    write_table(snakemake.output.scores, table.drop(columns="candidate"))
