"""Patch head outputs of a fine-tuned model into its base and back, group by group, by both models' circuits."""

from contextlib import ExitStack
from dataclasses import fields
from functools import partial
from pathlib import Path

from _run import job
from entity_mech.engine.load import load_checked
from entity_mech.engine.store import open_store, read_head_outputs
from entity_mech.files import read_table, write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.cmap import CmapOptions, Side, cmap_parts, run_cmap
from entity_mech.models.decoder import DecoderShape
from entity_mech.models.loading import read_model
from entity_mech.task.seeds import seed_for
from entity_mech.task.tokens import read_attributes, read_prompts

with job(snakemake), ExitStack() as opened:
    machine, options, given = snakemake.params.machine, snakemake.params.options, snakemake.input

    def side(model, tokens, activations):
        info = read_model(Path(model))
        expected = {
            "model": info["name"],
            "fingerprint": info["fingerprint"],
            "dtype": info["dtype"],
            "dataset": read_attributes(tokens)["dataset"],
        }
        file = opened.enter_context(open_store(activations, expected))
        return Side(
            info["name"],
            DecoderShape(**{field.name: info[field.name] for field in fields(DecoderShape)}),
            read_prompts(tokens, "prompts"),
            read_head_outputs(file["prompts"]),
            partial(load_checked, Path(model), machine["device"], info["dtype"]),
        )

    base = side(given.base, given.base_tokens, given.base_activations)
    tuned = side(given.model, given.tokens, given.activations)
    parts = {
        one.name: cmap_parts(read_circuit(circuit), read_table(heads), options["choice"])
        for one, circuit, heads in (
            (tuned, given.circuit, given.heads),
            (base, given.base_circuit, given.base_heads),
        )
    }
    chosen = CmapOptions(
        random_draws=options["random_draws"],
        directions=tuple(options["directions"]),
        choice=options["choice"],
        seed=seed_for(options["seed"], "cmap", tuned.name),
        batch=machine["batch_size"],
    )
    write_table(snakemake.output.results, run_cmap(base, tuned, parts, chosen))
