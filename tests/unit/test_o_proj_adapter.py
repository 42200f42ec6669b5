"""An adapter on `o_proj` alone changes nothing but what heads add to the stream. Every method must see it.

Each method runs on the base, on the adapter as the project merges it, and on PEFT's own merged model, with the same
head outputs given to all three, so that nothing but the weights can make a difference.
"""

import h5py
import numpy as np
import pytest
import torch
from box_prompts import box_pairs, box_prompts
from helpers import decoder_from
from model_folders import save_adapter, save_model, source
from transformers import AutoModelForCausalLM

from entity_mech.engine.backgrounds import prepare_ablated
from entity_mech.engine.circuit_run import run_circuits
from entity_mech.engine.clean import run_logits
from entity_mech.engine.load import load_checked
from entity_mech.engine.store import StoredHeads, store_head_outputs
from entity_mech.methods.circuits import Circuit, Group
from entity_mech.methods.dcm import DcmOptions, Desideratum, run_dcm
from entity_mech.methods.head_patching import PatchData, patched_predictions
from entity_mech.methods.path_patching import run_chain
from entity_mech.methods.searches import PathPatchingOptions, Search
from entity_mech.models.decoder import Decoder
from entity_mech.models.prepare import prepare_model

ROLES = ("last", "query_label", "label")
POSITIONS = ("label", "query_label", "last")  # in the order of the prompt
SHAPE = (3, 4, 12)  # layers, heads, d_head
SEARCHES = [
    Search("value_fetcher", "A", "last", (), 3, 4),
    Search("position_transmitter", "B", "last", (("value_fetcher", "q"),), 3, 4),
    Search("structure_reader", "D", "label", (("value_fetcher", "k"), ("value_fetcher", "v")), 3, 4),
]
GROUP = Group("value_fetcher", "A", "last", ((0, 1), (1, 2), (2, 0)))
PROMPTS, PAIRS = box_prompts(1, 16), box_pairs(2, 16)
OUTPUTS = np.random.default_rng(3).normal(size=(16, len(ROLES), *SHAPE)).astype(np.float32)
STORED = StoredHeads(OUTPUTS, ROLES)


@pytest.fixture(scope="module")
def decoders(tmp_path_factory) -> dict[str, Decoder]:
    """The base, the adapter over it, and what PEFT itself makes of the two."""
    folder = tmp_path_factory.mktemp("models")
    base = save_model(folder / "base", d_head=SHAPE[-1], kv_heads=2)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    over = save_adapter(folder / "adapter", model, target_modules=["o_proj"])
    sources = {"base": source("base", base)}
    sources["tuned"] = source("tuned", folder / "adapter", base=sources["base"])
    found = {}
    for name, one in sources.items():
        prepare_model(one, folder / name / "out", run_logits)
        found[name] = load_checked(folder / name / "out/model.json", "cpu")
    return {**found, "peft": decoder_from(over.merge_and_unload().requires_grad_(False))}


def path_patching(decoder: Decoder) -> np.ndarray:
    outputs = STORED.every
    options = PathPatchingOptions(null=False)
    return (
        run_chain(decoder, PROMPTS, lambda _, role, rows: outputs(role, rows), SEARCHES, options)
        .table["score"]
        .to_numpy()
    )


def circuit_run(decoder: Decoder) -> np.ndarray:
    ids, length = torch.as_tensor(PROMPTS.ids), torch.as_tensor(PROMPTS.length)
    means = torch.as_tensor(np.random.default_rng(4).normal(size=(ids.shape[1], *SHAPE)).astype(np.float32))
    positions = torch.as_tensor(np.stack([PROMPTS.roles[role] for role in POSITIONS], 1))
    masks = torch.as_tensor(np.random.default_rng(5).random((4, len(POSITIONS), *SHAPE[:2])) < 0.5)
    return run_circuits(decoder, prepare_ablated(decoder, ids, length, means), positions, masks).numpy()


def head_outputs(decoder: Decoder) -> np.ndarray:
    with h5py.File("outputs.h5", "w", driver="core", backing_store=False) as file:
        store_head_outputs(decoder, PAIRS.source, ROLES, file.create_group("source"))
        return file["source/z"][()]


def dcm(decoder: Decoder) -> np.ndarray:
    data = PatchData(PAIRS, STORED)
    circuit = Circuit("base", (GROUP,))
    found = run_dcm(decoder, circuit, [Desideratum("object", data, data, data)], DcmOptions(epochs=1, batch_size=8))
    return found.curves["loss"].to_numpy()


def cmap(decoder: Decoder) -> np.ndarray:
    heads = [("last", 1, 2), ("last", 2, 0), ("query_label", 0, 1)]
    return patched_predictions(decoder, PROMPTS, STORED, {"part": [heads, heads[:1], ()]})["part"]


@pytest.mark.parametrize(
    "method", [path_patching, circuit_run, head_outputs, dcm, cmap], ids=lambda one: one.__name__
)
def test_every_method_sees_it(decoders: dict[str, Decoder], method):
    plain, tuned, wanted = (method(decoders[name]) for name in ("base", "tuned", "peft"))
    if tuned.dtype.kind == "i":  # predicted tokens
        np.testing.assert_array_equal(tuned, wanted)
        assert (tuned != plain).mean() > 0.2
        return
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(tuned, wanted, atol=1e-5 * scale, rtol=0)
    assert np.abs(tuned - plain).max() > 0.05 * scale


def test_it_changes_what_heads_add_and_not_what_they_put_out(decoders: dict[str, Decoder]):
    plain, tuned = head_outputs(decoders["base"]), head_outputs(decoders["tuned"])
    np.testing.assert_array_equal(tuned[:, :, 0], plain[:, :, 0])
    assert np.abs(tuned[:, :, 1] - plain[:, :, 1]).max() > 0.01
