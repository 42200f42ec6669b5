"""The fast engine against the literal two-pass method, and its invariants."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from entity_mech.engine.clean import run_clean
from entity_mech.engine.path_patching import patched_answers
from entity_mech.engine.receivers import Receivers
from entity_mech.engine.search_batch import SearchBatch
from entity_mech.task.datasets import build_split
from entity_mech.task.encoding import load_tokenizer
from entity_mech.task.task import Task
from entity_mech.task.tokenize import tokenize_records
from entity_mech.task.words import LETTERS, Words, builtin_objects
from tests.helpers.path_patching_case import RECEIVERS, Case, N
from tests.helpers.random_models import decoder_from, exact_norms

ROOT = Path(__file__).parents[2]
SHAPES = {
    "every head its own keys": {},
    "grouped keys": {"kv_heads": 2},
    "grouped keys, odd d_head": {"kv_heads": 2, "d_head": 12},
    "biases, tied": {"kv_heads": 2, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
}


def tolerance(dtype):
    return {"rtol": 0, "atol": 5e-6 if dtype == torch.float32 else 1e-12}


@pytest.mark.parametrize("token", ["last", "middle", "first"])
@pytest.mark.parametrize("receivers", RECEIVERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_literal_method(shape, receivers, token):
    heads = RECEIVERS[receivers]
    for dtype in (torch.float32, torch.float64):
        with exact_norms():
            case = Case(SHAPES[shape], dtype, token)
            literal = case.literal(heads)
        fast = case.fast(heads)
        assert torch.allclose(fast, literal.to(fast.dtype), **tolerance(dtype))
        # The logits are read at the last token only, and a query at position 0 has one key to attend to.
        silent = {("logits", "middle"), ("logits", "first"), ("q", "first")}
        if (receivers, token) not in silent:
            clean = case.fast([])
            assert (fast - clean).abs().max() > 1e-4, "the patch must have done something"


def test_sender_at_or_above_its_receivers_scores_exactly_zero():
    case = Case({"kv_heads": 2})
    fast, clean = case.fast([("v", 2, 0)]), case.fast([])
    assert torch.equal(fast[2 * 4 :], clean[2 * 4 :])
    assert not torch.equal(fast[: 2 * 4], clean[: 2 * 4])


def test_patching_a_prompt_with_itself_changes_nothing():
    case = Case({}, torch.float64)
    rows = torch.arange(N)
    z = run_clean(case.decoder, case.ids, {"z"}).z
    case.corrupted = torch.stack([layer[rows, case.pos] for layer in z], 1)
    clean = case.fast([])
    for heads in RECEIVERS.values():
        assert torch.allclose(case.fast(heads), clean, rtol=0, atol=1e-13)


@pytest.mark.parametrize("receivers", ["logits", "k and v", "q"])
def test_batch_equals_its_rows_and_blocks_change_nothing(receivers):
    case = Case({"kv_heads": 2}, torch.float64, "last" if receivers == "logits" else "middle")
    heads = RECEIVERS[receivers]
    whole = case.fast(heads)
    assert torch.allclose(case.fast(heads, max_rows=1), whole, rtol=0, atol=1e-13)
    for i in range(N):
        one = slice(i, i + 1)
        batch = SearchBatch.of(case.decoder, case.ids[one], case.length[one], case.answer[one], case.pos[one])
        alone = patched_answers(case.decoder, batch, case.corrupted[one], case.receivers(heads))[0]
        assert torch.allclose(alone[:, 0], whole[:, i], rtol=0, atol=1e-13)


def test_shared_key_value_head_is_patched_once():
    both = Receivers.of_heads([("v", 1, 0), ("v", 1, 1), ("k", 1, 3)], group=2)
    assert both.layers == {1: {"v": [0], "k": [1]}}


def test_no_receivers_finds_nothing():
    case = Case({})
    clean = case.fast([])
    assert torch.equal(clean, clean[:1].expand_as(clean))
    assert torch.equal(case.fast([("v", 0, 1)]), clean), "a receiver in layer 0 has no sender below it"


class ShippedCase(Case):
    """The shipped base on box prompts of its own vocabulary, corrupted by prompts of other scenes."""

    def __init__(self, token, dtype):
        self.model = LlamaForCausalLM.from_pretrained(ROOT / "demo_models/tiny/base", dtype=dtype).eval()
        self.decoder = decoder_from(self.model, dtype)
        task = Task()
        records = build_split("discovery", Words(builtin_objects(), LETTERS), task, 14, 0)
        tokenizer = load_tokenizer(str(ROOT / "demo_models/tiny/base"))
        (groups,) = tokenize_records(records, tokenizer)[0].values()
        clean, other = groups["clean"], groups["corrupted"]
        self.ids, self.length, self.other = map(torch.as_tensor, (clean.ids, clean.length, other.ids))
        self.answer = torch.as_tensor(clean.answer)
        self.pos, self.corrupted_pos = torch.as_tensor(clean.roles[token]), torch.as_tensor(other.roles[token])
        rows = torch.arange(len(self.ids))
        z = run_clean(self.decoder, self.other, {"z"}).z
        self.corrupted = torch.stack([layer[rows, self.corrupted_pos] for layer in z], 1)


@pytest.mark.parametrize(
    ("token", "heads"),
    [
        ("last", None),
        ("last", [("q", 3, 2)]),
        ("query_label", [("v", 2, 3)]),
        ("previous_label", [("k", 3, 2), ("v", 3, 2), ("v", 2, 3)]),
    ],
)
def test_equals_literal_method_on_a_shipped_model(token, heads):
    for dtype in (torch.float32, torch.float64):
        with exact_norms():
            case = ShippedCase(token, dtype)
            literal = case.literal(heads)
        fast, clean, literal = case.fast(heads), case.fast([]), literal.to(dtype)
        # A trained model's logits are large: float32 leaves single prompts a few 1e-6 apart, the mean less.
        assert torch.allclose(fast, literal, rtol=0, atol=2e-5 if dtype == torch.float32 else 1e-12)
        assert torch.allclose(fast.mean(1), literal.mean(1), **tolerance(dtype))
        assert (fast - clean).abs().max() > 0.01
        scores = [((p - clean) / clean).mean(1) for p in (fast, literal)]
        assert scores[0].argsort()[:3].tolist() == scores[1].argsort()[:3].tolist()
