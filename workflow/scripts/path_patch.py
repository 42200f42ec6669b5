"""Run the chain of path-patching searches on a model."""

from pathlib import Path

from _run import job
from entity_mech.engine.load import load_checked
from entity_mech.engine.partial import Partial
from entity_mech.engine.store import open_store, read_head_outputs
from entity_mech.files import write_table
from entity_mech.methods.path_patching import PathPatchingOptions, Search, run_chain
from entity_mech.methods.refined_search import RefinedOptions
from entity_mech.models.loading import read_model
from entity_mech.provenance import digest_of
from entity_mech.task.seeds import seed_for
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
    refined = options["mode"] == "refined"
    searches = [
        Search(
            name=search["name"],
            letter=search["letter"],
            token=search["token"],
            receivers=tuple((one["search"], one["input"]) for one in search["receivers"] if one != "logits"),
            receiver_heads=search["receiver_heads"],
            # Candidates are chosen by prune_circuit, so that their number can change without a new exact search.
            keep=search.get("keep", 0),
        )
        for search in snakemake.params.searches
    ]
    decoder = load_checked(model, machine["device"], info["dtype"])
    with open_store(snakemake.input.activations, expected) as file:
        made_from = {
            "config": digest_of({"searches": snakemake.params.searches, "options": options}),
            "code": snakemake.params.code,
            "activations": f"{file.attrs['config']} {file.attrs['code']}",
        }
        partial = Partial(Path(snakemake.output.scores).with_suffix(".partial.h5"), {**expected, **made_from})
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
                refined=RefinedOptions(seed=seed_for(options["seed"], "refined")) if refined else None,
            ),
            partial,
        )
    write_table(snakemake.output.scores, table.drop(columns="candidate"))
    partial.remove()
