"""Inputs across models equal hooks with all other positions frozen; a model into itself changes nothing."""

from contextlib import ExitStack

import numpy as np
import pytest
import torch

from entity_mech.engine.readout import logits
from entity_mech.errors import UserError
from entity_mech.methods import cmap_inputs
from entity_mech.methods.circuits import Circuit
from entity_mech.methods.cmap import CmapOptions, cmap_parts, heads_of_both
from entity_mech.methods.cmap_inputs import INPUTS, InputRun, patched_inputs, run_cmap_inputs
from entity_mech.methods.head_patching import heads_at
from tests.helpers.box_prompts import box_prompts
from tests.helpers.cmap_sides import CIRCUIT, SELECTED, A, B, D, side
from tests.helpers.literal_circuits import head_outputs
from tests.helpers.random_models import decoder_from, exact_norms, random_llama

PROMPTS = box_prompts(8, 6, ragged=True)
ROWS = torch.arange(len(PROMPTS))


def projections(model) -> dict[tuple[str, int], torch.Tensor]:
    """Outputs of every q, k and v projection on whole prompts, before rotary embedding."""
    found = {}
    with ExitStack() as stack, torch.no_grad():
        stack.enter_context(exact_norms())
        for i, layer in enumerate(model.model.layers):
            for kind in "qkv":
                module = getattr(layer.self_attn, f"{kind}_proj")
                keep = lambda _, __, out, key=(kind, i): found.update({key: out.clone()})  # noqa: E731
                stack.callback(module.register_forward_hook(keep).remove)
        model(torch.as_tensor(PROMPTS.ids), use_cache=False)
    return found


def literal(target, donor, heads, inputs) -> torch.Tensor:
    """The target's logits with the donor's inputs, every head's output frozen at all tokens but the last."""
    given, last = projections(donor), torch.as_tensor(PROMPTS.length - 1)
    with exact_norms():
        clean_z = head_outputs(target, PROMPTS.ids)
    d_head, group = target.model.layers[0].self_attn.head_dim, 2
    before = torch.arange(PROMPTS.ids.shape[1]) < last[:, None]

    def inputs_hook(kind, layer):
        def hook(_, __, out):
            out = out.clone()
            for _, at, head in heads:
                if at == layer and kind in inputs:
                    index = head if kind == "q" else head // group
                    part = slice(index * d_head, (index + 1) * d_head)
                    where = ~before if kind == "q" else before
                    out[..., part] = torch.where(where[..., None], given[kind, layer][..., part], out[..., part])
            return out

        return hook

    def freeze(layer):
        def hook(_, args):
            z = clean_z[:, :, layer].flatten(2).clone()
            z[ROWS, last] = args[0][ROWS, last]
            return (z,)

        return hook

    with ExitStack() as stack, torch.no_grad():
        stack.enter_context(exact_norms())
        for i, layer in enumerate(target.model.layers):
            for kind in "qkv":
                module = getattr(layer.self_attn, f"{kind}_proj")
                stack.callback(module.register_forward_hook(inputs_hook(kind, i)).remove)
            stack.callback(layer.self_attn.o_proj.register_forward_pre_hook(freeze(i)).remove)
        return target(torch.as_tensor(PROMPTS.ids), use_cache=False).logits[ROWS, last]


@pytest.fixture(scope="module")
def models():
    return [random_llama(layers=3, kv_heads=2, seed=seed, spread=0.35).double() for seed in (0, 1)]


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("group", [A, B], ids="AB")
def test_inputs_equal_hooks(models, monkeypatch, group, inputs):
    target, donor = (decoder_from(model, torch.float64) for model in models)
    seen = []
    monkeypatch.setattr(cmap_inputs, "predictions", lambda d, x: (seen.append(logits(d, x)), x[:, 0].long())[1])
    patched_inputs(target, donor, PROMPTS, [InputRun(heads_at(group), inputs)])
    slow = literal(*models, heads_at(group), inputs)
    assert (seen[0] - slow).abs().max() < 1e-10
    assert (slow - literal(*models, (), "")).abs().max() > 1e-3


def test_a_model_into_itself_changes_nothing(models, monkeypatch):
    target = decoder_from(models[0], torch.float64)
    seen = []
    monkeypatch.setattr(cmap_inputs, "predictions", lambda d, x: (seen.append(logits(d, x)), x[:, 0].long())[1])
    patched_inputs(target, target, PROMPTS, [InputRun(heads_at(A) + heads_at(B), inputs) for inputs in INPUTS])
    clean = literal(models[0], models[0], (), "")
    assert len(seen) == len(INPUTS)
    assert all((found - clean).abs().max() < 1e-10 for found in seen)


def test_the_table_has_both_ways_inputs_and_controls():
    base, tuned = side("base", 0)[0], side("tuned", 1)[0]
    parts = [part for part in cmap_parts(CIRCUIT, SELECTED) if part.name in "AB"]
    table = run_cmap_inputs(base, tuned, {"tuned": parts}, heads_of_both(CIRCUIT), CmapOptions(random_draws=2))
    assert len(table) == 2 * 2 * 5 * 3
    assert table.groupby(["target", "part", "input"]).size().eq(3).all()
    assert table[table.part == "A"].n_heads.eq(1).all()
    assert table[table.part == "B"].fallback.all()
    assert table["gain"].notna().all()
    assert table.equals(
        run_cmap_inputs(base, tuned, {"tuned": parts}, heads_of_both(CIRCUIT), CmapOptions(random_draws=2, batch=5))
    )
    empty = [part for part in cmap_parts(Circuit("tuned", ()), SELECTED) if part.name == "full"]
    assert not len(run_cmap_inputs(base, tuned, {"tuned": empty}, frozenset(), CmapOptions()))


def test_groups_elsewhere_and_nothing_are_refused(models):
    decoder = decoder_from(models[0], torch.float64)
    with pytest.raises(UserError, match="not at label"):
        patched_inputs(decoder, decoder, PROMPTS, [InputRun(heads_at(D), "q")])
    for run in (InputRun((), "q"), InputRun(heads_at(A), ""), InputRun(heads_at(A), "z")):
        with pytest.raises(ValueError, match="nothing is patched"):
            patched_inputs(decoder, decoder, PROMPTS, [run])


def test_batches_do_not_change_a_prediction(models):
    target, donor = (decoder_from(model, torch.float64) for model in models)
    runs = [InputRun(heads_at(A), inputs) for inputs in INPUTS]
    found = patched_inputs(target, donor, PROMPTS, runs, 4)
    np.testing.assert_array_equal(patched_inputs(target, donor, PROMPTS, runs, 1), found)
    assert (found != patched_inputs(target, target, PROMPTS, runs, 4)).any(), "the donor's inputs change an answer"
