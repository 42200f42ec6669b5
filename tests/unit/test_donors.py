"""Contributions of another model's heads equal hooked whole prompts, both ways; equal projections change nothing."""

import numpy as np
import pytest
import torch

from entity_mech.engine.donor_heads import heads_only
from entity_mech.engine.readout import logits
from entity_mech.engine.store import StoredHeads
from entity_mech.methods import head_patching
from entity_mech.methods.donors import DonorOutputs, DonorWeights
from entity_mech.methods.head_patching import FromStore, Patch, heads_at, run_patches
from tests.helpers.box_prompts import box_prompts
from tests.helpers.cmap_sides import ROLES, A, B, D
from tests.helpers.family_models import family_model
from tests.helpers.literal_circuits import head_outputs
from tests.helpers.literal_donors import layer_inputs, literal_contributions, outputs_on_inputs
from tests.helpers.random_models import decoder_from, exact_norms, random_llama

PROMPTS = box_prompts(8, 6, ragged=True)
# One token and several, the first layer (joined) and the last, heads that feed each other.
PARTS = {"A": heads_at(A), "B": heads_at(B), "D": heads_at(D), "all": (*heads_at(A), *heads_at(B), *heads_at(D))}


@pytest.fixture(scope="module")
def models():
    return [random_llama(layers=3, kv_heads=2, seed=seed, spread=0.35).double() for seed in (0, 1)]


def literal_outputs(target, donor, way: str) -> torch.Tensor:
    if way == "direct":
        return outputs_on_inputs(donor, layer_inputs(target, PROMPTS.ids), PROMPTS.ids)
    with exact_norms():
        return head_outputs(donor, PROMPTS.ids)


def stored(z: torch.Tensor) -> StoredHeads:
    rows = torch.arange(len(PROMPTS))
    picked = [z[rows, torch.as_tensor(PROMPTS.roles[role])].numpy() for role in ROLES]
    return StoredHeads(np.stack(picked, 1), ROLES)


def source_of(target, donor, way: str):
    weights = heads_only(decoder_from(donor, torch.float64))
    if way == "direct":
        return DonorWeights(weights)
    return DonorOutputs(weights, stored(literal_outputs(target, donor, way)))


def found_logits(monkeypatch, target, source, variants, batch=None) -> torch.Tensor:
    """Logits under each variant [variant, prompt, vocab]."""
    seen = []

    def keep(decoder, x):
        if x.dim() == 3:  # not the unedited model's
            seen.append(logits(decoder, x))
        return torch.zeros(x.shape[:-1], dtype=torch.long)

    monkeypatch.setattr(head_patching, "predictions", keep)
    run_patches(decoder_from(target, torch.float64), PROMPTS, {"x": Patch(source, variants)}, batch)
    return torch.cat(seen, 1)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("way", ["outputs", "direct"])
def test_contributions_equal_hooks(models, monkeypatch, way, name):
    target, donor = models
    heads = PARTS[name]
    variants = [heads, heads[:1], ()]
    found = found_logits(monkeypatch, target, source_of(target, donor, way), variants, batch=4)
    outputs = literal_outputs(target, donor, way)
    for given, variant in zip(found, variants, strict=True):
        wanted = literal_contributions(target, donor, PROMPTS, variant, outputs)
        assert (given - wanted).abs().max() < 1e-9
    assert (found[0] - found[2]).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["olmo2", "gemma2", "gpt_neox", "gpt2", "qwen3"])
def test_contributions_equal_hooks_in_other_families(monkeypatch, family):
    """A norm behind attention, caps and windows, blocks in parallel: what is added stands before all of them."""
    target, donor = (family_model(family, seed).double() for seed in (0, 1))
    for way in ("outputs", "direct"):
        outputs = literal_outputs(target, donor, way)
        found = found_logits(monkeypatch, target, source_of(target, donor, way), [PARTS["all"], PARTS["A"]])
        for given, variant in zip(found, (PARTS["all"], PARTS["A"]), strict=True):
            wanted = literal_contributions(target, donor, PROMPTS, variant, outputs)
            assert (given - wanted).abs().max() < 1e-9, way
        assert (found[0] - found[1]).abs().max() > 1e-2


def test_the_two_ways_differ_only_by_what_happens_before(models, monkeypatch):
    """In the first layer nothing happens before, if the words are the same."""
    target, donor = models
    donor = random_llama(layers=3, kv_heads=2, seed=1, spread=0.35).double()
    donor.model.embed_tokens.load_state_dict(target.model.embed_tokens.state_dict())
    first, second = [("label", 0, 2)], [("label", 1, 2)]
    outputs, direct = (
        found_logits(monkeypatch, target, source_of(target, donor, way), [first, second])
        for way in ("outputs", "direct")
    )
    assert (outputs[0] - direct[0]).abs().max() < 1e-9
    assert (outputs[1] - direct[1]).abs().max() > 1e-2


def test_equal_projections_give_what_head_outputs_alone_gave(models, monkeypatch):
    """To the last bit: what was published stays what it was."""
    target, donor = models
    donor = random_llama(layers=3, kv_heads=2, seed=1, spread=0.35).double()
    for mine, theirs in zip(target.model.layers, donor.model.layers, strict=True):
        theirs.self_attn.o_proj.load_state_dict(mine.self_attn.o_proj.state_dict())
    source = source_of(target, donor, "outputs")
    variants = [PARTS["all"], PARTS["A"]]
    new = found_logits(monkeypatch, target, source, variants)
    old = found_logits(monkeypatch, target, FromStore(source.stored), variants)
    assert torch.equal(new, old)
    other = models[1]
    assert not torch.equal(found_logits(monkeypatch, target, source_of(target, other, "outputs"), variants), old)


@pytest.mark.parametrize("way", ["outputs", "direct"])
def test_a_model_into_itself_changes_nothing(models, monkeypatch, way):
    target = models[0]
    found = found_logits(monkeypatch, target, source_of(target, target, way), [PARTS["all"], ()])
    assert (found[0] - found[1]).abs().max() < 1e-10


def test_only_changed_weights_of_the_group_itself_show_directly(models, monkeypatch):
    """Each of q, k, v and the output projection of a head shows; what is below it or beside it does not."""
    target = models[0]
    clean = found_logits(monkeypatch, target, source_of(target, target, "direct"), [PARTS["A"], ()])[1]
    for matrix in "qkvo":
        donor = random_llama(layers=3, kv_heads=2, seed=0, spread=0.35).double()
        donor.model.layers[1].self_attn.get_parameter(f"{matrix}_proj.weight").mul_(1.5)
        own = [("last", 1, 1)]
        others = [("last", 0, 2), ("label", 0, 2), ("last", 2, 0), ("query_label", 2, 3)]
        found = found_logits(monkeypatch, target, source_of(target, donor, "direct"), [own, others])
        assert (found[0] - clean).abs().max() > 1e-4, matrix
        assert (found[1] - clean).abs().max() < 1e-10, matrix


def test_what_is_kept_of_a_donor_is_its_heads(models):
    decoder = decoder_from(models[1], torch.float64)
    kept = heads_only(decoder)
    assert kept.embedding.numel() == kept.unembedding.numel() == 0
    assert all(weights.up.numel() == weights.down.numel() == 0 for weights in kept.layers)
    assert all(ours.qkv is theirs.qkv for ours, theirs in zip(kept.layers, decoder.layers, strict=True))
    assert (kept.device, kept.dtype, kept.shape) == (decoder.device, decoder.dtype, decoder.shape)
