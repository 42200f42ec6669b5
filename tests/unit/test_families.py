"""Every family computes what transformers computes, and every intervention is what hooks on transformers give."""

from functools import cache

import numpy as np
import pytest
import torch

from entity_mech.engine.backgrounds import prepare_ablated
from entity_mech.engine.circuit_run import run_circuits
from entity_mech.engine.clean import run_clean, run_logits
from entity_mech.engine.first_order import receiver_gradients
from entity_mech.engine.load import load_checked
from entity_mech.engine.path_patching import patched_answers
from entity_mech.engine.prefix import EditPlan, PrefixBank
from entity_mech.engine.readout import logits
from entity_mech.engine.receivers import Receivers
from entity_mech.engine.search_batch import SearchBatch
from entity_mech.engine.suffix import Edit, run_suffix
from entity_mech.errors import UserError
from entity_mech.methods.attention_patterns import attention_from
from entity_mech.methods.knockout import final_from_each_layer
from entity_mech.methods.refined_search import RefinedOptions, refined_effects
from entity_mech.methods.scored_prompts import ScoredPrompts
from entity_mech.models.families.table import FAMILIES
from entity_mech.models.prepare import prepare_model
from tests.helpers.anatomy import edited_attention
from tests.helpers.box_prompts import box_prompts
from tests.helpers.family_models import VARIANTS, family_model
from tests.helpers.literal_circuits import head_outputs, last_logits, literal_circuit
from tests.helpers.literal_patching import literal_patched
from tests.helpers.literal_path_patching import AnyFamilyPathPatching
from tests.helpers.model_folders import IDS, save_tokenizer, source
from tests.helpers.random_models import exact_norms, random_prompts

N, LENGTH, VOCAB, N_LAYERS, N_HEADS = 4, 13, 61, 3, 4
RECEIVERS = {
    "logits": None,
    "q": [("q", 1, 0), ("q", 2, 3)],
    "k": [("k", 1, 1), ("k", 2, 2)],
    "v": [("v", 1, 1), ("v", 2, 0)],
    "q, k and v": [("q", 1, 1), ("k", 1, 1), ("v", 1, 1), ("k", 2, 3), ("q", 2, 0), ("v", 2, 0)],
}
ROLES = ("label", "separator", "query_label", "last")
PROMPTS = box_prompts(3, N, boxes=2, ragged=True)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """variant -> the transformers model in float64, and the decoder that was prepared from its folder."""

    @cache
    def load(variant: str):
        folder = tmp_path_factory.mktemp("family")
        model = family_model(variant)
        model.save_pretrained(folder / "m")
        save_tokenizer(folder / "m")
        prepare_model(source(variant, folder / "m"), folder / "out", run_logits)
        return model.double(), {
            dtype: load_checked(folder / "out/model.json", "cpu", dtype) for dtype in ("float32", "float64")
        }

    return load


def test_every_family_has_a_variant():
    shown = {type(family_model(variant)).__name__ for variant in VARIANTS} | {"LlamaForCausalLM"}
    assert shown == {family.architecture for family in FAMILIES}


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_equal_transformers(loaded, variant):
    model, decoders = loaded(variant)
    ids = torch.cat((IDS, IDS.flip(1)), 1)  # longer than every window
    with torch.no_grad(), exact_norms():
        own = model(ids).logits
    spread = own.max() - own.min()
    assert (run_logits(decoders["float64"], ids) - own).abs().max() < 1e-12 * spread
    assert (run_logits(decoders["float32"], ids) - own).abs().max() < 5e-6 * spread


@pytest.mark.parametrize("receivers", RECEIVERS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_path_patching_equals_the_literal_method(loaded, variant, receivers):
    model, decoders = loaded(variant)
    decoder, heads = decoders["float64"], RECEIVERS[receivers]
    group = decoder.shape.group
    rng = np.random.default_rng(0)
    ids, length = map(torch.as_tensor, random_prompts(rng, n=N, length=LENGTH, vocab=VOCAB, ragged=True))
    other = torch.as_tensor(random_prompts(rng, n=N, length=LENGTH, vocab=VOCAB)[0])
    answer, rows = torch.as_tensor(rng.integers(1, VOCAB, N)), torch.arange(N)
    keys = None if heads is None else {(kind, la, h if kind == "q" else h // group) for kind, la, h in heads}
    wanted = None if heads is None else Receivers.of_heads(heads, group)
    with torch.no_grad(), exact_norms():
        oracle = AnyFamilyPathPatching(model, ids, length, other)
    spots = {"middle": torch.as_tensor(rng.integers(4, 9, N)), "last": length - 1, "first": torch.zeros(N).long()}
    moved = []
    for token, pos in spots.items():
        if receivers == "logits" and token != "last":
            continue
        batch = SearchBatch.of(decoder, ids, length, answer, pos)
        corrupted = torch.stack([z[rows, pos] for z in run_clean(decoder, other, {"z"}).z], 1)
        fast = patched_answers(decoder, batch, corrupted, wanted)[0]
        with torch.no_grad(), exact_norms():
            slow = [
                oracle.probability(layer, head, pos, pos, keys, answer)
                for layer in range(N_LAYERS)
                for head in range(N_HEADS)
            ]
        assert (fast - torch.stack(slow)).abs().max() < 1e-12
        clean = patched_answers(decoder, batch, corrupted, Receivers({}))[0]
        moved.append((fast - clean).abs().max())
    # Not at every token: a window may hide it, and the first one has one key to attend to.
    assert max(moved) > 1e-5, "the patch must have done something"


@pytest.mark.parametrize("variant", VARIANTS)
def test_ablated_circuits_equal_hooked_runs(loaded, variant):
    model, decoders = loaded(variant)
    decoder = decoders["float64"]
    rng = np.random.default_rng(0)
    masks = rng.random((6, len(ROLES), N_LAYERS, N_HEADS)) < rng.random((6, 1, 1, 1))
    masks[0], masks[1] = False, True
    positions = np.stack([PROMPTS.roles[role] for role in ROLES], 1)
    with exact_norms():
        longest = box_prompts(4, 5, boxes=2, ragged=True)
        means = head_outputs(model, longest.ids).mean(0)
        ids, length = torch.as_tensor(PROMPTS.ids), torch.as_tensor(PROMPTS.length)
        background = prepare_ablated(decoder, ids, length, means)
        fast = logits(decoder, run_circuits(decoder, background, torch.as_tensor(positions), torch.as_tensor(masks)))
        for mask, ours in zip(masks, fast, strict=True):
            literal = literal_circuit(model, PROMPTS.ids, PROMPTS.length, positions, mask, means)
            assert (ours - literal).abs().max() <= 1e-10 * literal.abs().max()


EDITS = {
    "one token": (("last",), [(1, 0, (0, 3)), (2, 0, (1,))]),
    "an early token": (("label",), [(0, 0, (3,)), (1, 0, (0, 1, 2, 3))]),
    "three tokens": (("label", "query_label", "last"), [(0, 0, (1,)), (1, 1, (0, 2)), (1, 2, (1,)), (2, 2, (0, 3))]),
}


@pytest.mark.parametrize("case", EDITS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_patched_heads_and_gradients_equal_hooks(loaded, variant, case):
    """What DCM's masks and CMAP's patches are: outputs of heads replaced, in part, and all the rest run again."""
    model, decoders = loaded(variant)
    decoder = decoders["float64"]
    roles, edits = EDITS[case]
    seeded = torch.Generator().manual_seed(1)
    values = [torch.randn(N, len(heads), decoder.shape.d_head, generator=seeded).double() for *_, heads in edits]
    plan = EditPlan(roles, min(layer for layer, _, _ in edits))
    target = torch.as_tensor(PROMPTS.answer)[:, None]
    found = []
    with exact_norms():
        for fast in (True, False):
            weights = [torch.full((len(heads),), 0.4).double().requires_grad_() for *_, heads in edits]
            if fast:
                start = PrefixBank(decoder, PROMPTS, [plan], 1 << 30, 3).start(plan, slice(None))
                made = [Edit(*edit, v, w) for edit, v, w in zip(edits, values, weights, strict=True)]
                out = logits(decoder, run_suffix(decoder, start, made)[0])
            else:
                slow = [
                    (layer, torch.as_tensor(PROMPTS.roles[roles[site]]), heads, v, w)
                    for (layer, site, heads), v, w in zip(edits, values, weights, strict=True)
                ]
                out = literal_patched(model, torch.as_tensor(PROMPTS.ids), torch.as_tensor(PROMPTS.length - 1), slow)
            out.gather(1, target).mean().backward()
            found.append((out.detach(), torch.cat([w.grad for w in weights])))
        with torch.inference_mode():
            plain = logits(decoder, run_suffix(decoder, start, made)[0])
    (ours, ours_grad), (own, own_grad) = found
    assert (ours - own).abs().max() < 1e-10 * own.abs().max()
    assert (plain - own).abs().max() < 1e-10 * own.abs().max()
    assert own_grad.abs().max() > 1e-4
    assert (ours_grad - own_grad).abs().max() < 1e-9 * own_grad.abs().max()


@pytest.mark.parametrize("variant", VARIANTS)
def test_knockout_and_patterns_equal_masked_whole_prompts(loaded, variant):
    model, decoders = loaded(variant)
    decoder = decoders["float64"]
    ids, rows = torch.as_tensor(PROMPTS.ids), torch.arange(N)
    sources = torch.as_tensor(PROMPTS.roles["query_label"])
    targets = sources - torch.tensor([1, 2, 3, 7])
    clean = run_clean(decoder, ids)
    span = EditPlan(("query_label",), 0).span(PROMPTS, decoder.device)
    with torch.inference_mode():
        fast = logits(decoder, final_from_each_layer(decoder, clean, span, targets))
    seen = {}
    for first in range(N_LAYERS):

        def edit(layer: int, kind: str, x: torch.Tensor, first: int = first) -> torch.Tensor:
            if kind == "mask" and layer >= first:
                x = x.expand(N, -1, -1, -1).clone()
                x[rows, 0, sources, targets] = -torch.inf
            return x

        with exact_norms(), edited_attention(model, edit):
            slow = last_logits(model, PROMPTS.ids, PROMPTS.length)
        assert (fast[first] - slow).abs().max() < 1e-10 * slow.abs().max()
        seen[first] = (slow - logits(decoder, clean.last(torch.as_tensor(PROMPTS.length)))).abs().max()
    assert seen[0] > 1e-4
    heads = [("last", 0, 1), ("last", 2, 3), ("label", 1, 2)]
    with torch.no_grad(), exact_norms():
        own = model(ids, output_attentions=True).attentions
    for (role, layer, head), pattern in zip(heads, attention_from(decoder, PROMPTS, heads), strict=True):
        expected = own[layer][rows, head, torch.as_tensor(PROMPTS.roles[role])]
        np.testing.assert_allclose(pattern, expected, atol=1e-5)


@pytest.mark.parametrize("variant", ["qwen3", "gpt_neox", "gemma2", "olmo2"])
def test_gradients_by_receiver_inputs_equal_those_of_hooks(loaded, variant):
    """What the refined mode ranks senders by: slopes by q and k after the family's norms and before rotation."""
    model, decoders = loaded(variant)
    decoder = decoders["float64"]
    ids, length = torch.as_tensor(PROMPTS.ids), torch.as_tensor(PROMPTS.length)
    answer, rows = torch.as_tensor(PROMPTS.answer), torch.arange(N)
    pos = torch.as_tensor(PROMPTS.roles["query_label"])
    wanted = Receivers.of_heads(RECEIVERS["q, k and v"], decoder.shape.group)
    clean = run_clean(decoder, ids)
    found = receiver_gradients(decoder, SearchBatch(clean, length, answer, pos), wanted)
    heads = {(layer, kind): heads for layer, kinds in wanted.layers.items() for kind, heads in kinds.items()}
    added = {key: torch.zeros_like(value).requires_grad_() for key, value in found.items()}

    def edit(layer: int, kind: str, x: torch.Tensor) -> torch.Tensor:
        if (layer, kind) in added:
            x = x.clone()
            for i, head in enumerate(heads[layer, kind]):
                x[rows, head, pos] = x[rows, head, pos].detach() + added[layer, kind][:, i]
        return x

    # A receiver above another one keeps its clean input: its own path below is cut.
    with exact_norms(), edited_attention(model, edit):
        out = model(ids, use_cache=False).logits[rows, length - 1].log_softmax(-1)[rows, answer].sum()
    slopes = torch.autograd.grad(out, list(added.values()), allow_unused=True)
    for ours, slope in zip(found.values(), slopes, strict=True):
        wanted_slope = torch.zeros_like(ours) if slope is None else slope
        assert (ours - wanted_slope).abs().max() < 1e-9
    assert max(value.abs().max() for value in found.values()) > 1e-4


def test_refined_mode_is_refused_for_experts(loaded):
    decoder = loaded("mixtral")[1]["float32"]
    scored = ScoredPrompts(decoder, PROMPTS, lambda *_: np.zeros((N, N_LAYERS, N_HEADS, decoder.shape.d_head)))
    with pytest.raises(UserError, match=r"path_patching\.mode: refined is not for mixtral, whose MLPs are experts"):
        refined_effects(scored, "last", Receivers({1: {"q": [0]}}), 2, RefinedOptions())
