"""Knockout equals masked whole prompts; blocking nothing changes nothing; patterns are the model's attention."""

from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from entity_mech.engine.clean import run_clean
from entity_mech.engine.prefix import EditPlan
from entity_mech.engine.readout import logits
from entity_mech.errors import UserError
from entity_mech.methods import knockout
from entity_mech.methods.attention_patterns import (
    PatternOptions,
    attention_from,
    mean_patterns,
    prompt_patterns,
)
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.knockout import KnockoutOptions, random_targets, run_knockout, target_positions
from tests.helpers.box_prompts import box_prompts
from tests.helpers.literal_circuits import last_logits
from tests.helpers.random_models import decoder_from, exact_norms, random_llama

PROMPTS = box_prompts(4, 8, ragged=True)
N_LAYERS = 4


@contextmanager
def blocked(model, source, target, first_layer):
    """Literal knockout: an attention mask of one's own in every layer from the first on."""
    n, n_pos = PROMPTS.ids.shape
    mask = torch.ones(n, 1, n_pos, n_pos, dtype=torch.bool).tril()
    mask[torch.arange(n), 0, torch.as_tensor(source), torch.as_tensor(target)] = False

    def hook(_, args, kwargs):
        return args, {**kwargs, "attention_mask": mask}

    with ExitStack() as stack:
        stack.enter_context(exact_norms())
        for layer in model.model.layers[first_layer:]:
            handle = layer.self_attn.register_forward_pre_hook(hook, with_kwargs=True)
            stack.callback(handle.remove)
        yield


@pytest.fixture(scope="module")
def model():
    return random_llama(layers=N_LAYERS, kv_heads=2, spread=0.35).double()


@pytest.mark.parametrize(("source", "target"), knockout.PAPER_PAIRS)
def test_every_first_layer_equals_a_masked_whole_prompt(model, source, target):
    decoder = decoder_from(model, torch.float64)
    target_pos = target_positions(PROMPTS, source, target, KnockoutOptions())
    source_pos = PROMPTS.roles[source]
    clean = run_clean(decoder, torch.as_tensor(PROMPTS.ids))
    span = EditPlan((source,), 0).span(PROMPTS, decoder.device)
    with torch.inference_mode():
        x = knockout.final_from_each_layer(decoder, clean, span, torch.as_tensor(target_pos))
        fast = logits(decoder, x)
    rows, last = torch.arange(len(PROMPTS)), torch.as_tensor(PROMPTS.length - 1)
    moved = []
    for layer in range(N_LAYERS):
        with blocked(model, source_pos, target_pos, layer), torch.no_grad():
            slow = model(torch.as_tensor(PROMPTS.ids), use_cache=False).logits[rows, last]
        assert (fast[layer] - slow).abs().max() < 1e-10
        moved.append((slow - logits(decoder, clean.last(last + 1))).abs().max().item())
    assert moved[0] > 1e-3
    if source == "query_label":
        assert moved[-1] < 1e-10  # in the last layer only the last token is read


def test_the_table_ends_with_nothing_blocked(model):
    decoder = decoder_from(model, torch.float32)
    says = last_logits(model, PROMPTS.ids, PROMPTS.length).argmax(-1).numpy()
    # Random weights never give the right object: half of the answers are what the intact model says.
    prompts = replace(PROMPTS, answer=np.where(np.arange(8) % 2, says, PROMPTS.answer))
    table = run_knockout(decoder, prompts, KnockoutOptions(batch=3))
    assert table.groupby(["source", "target"]).size().tolist() == [N_LAYERS + 1] * 5
    assert (table[table.layer == N_LAYERS].accuracy == 0.5).all()
    blocked_from_last = table[(table.layer == N_LAYERS - 1) & (table.source == "last")]
    assert (blocked_from_last.accuracy != 0.5).any(), "blocking even the last layer alone changes an answer"
    assert table[table.layer == 0].accuracy.nunique() > 1
    again = run_knockout(decoder, prompts, KnockoutOptions(batch=8))
    assert table.equals(again)


def test_random_targets_avoid_the_named_tokens():
    avoid = ["last", "label", "object", "query_label", "bos"]
    seen = set()
    for seed in range(200):
        drawn = random_targets(PROMPTS, "query_label", avoid, np.random.default_rng(seed))
        assert (drawn < PROMPTS.roles["query_label"]).all()
        assert (drawn > 0).all()
        for role in avoid:
            assert (drawn != PROMPTS.roles[role]).all()
        seen |= {int(d) for d in drawn[:1]}
    first = PROMPTS.roles["query_label"][0]
    assert seen == set(range(1, first)) - {int(PROMPTS.roles[r][0]) for r in avoid}


def test_a_target_after_its_source_is_refused():
    with pytest.raises(UserError, match="'label' to 'last': the target does not come before the source"):
        target_positions(PROMPTS, "label", "last", KnockoutOptions())


GROUPS = (
    HeadGroup("value_fetcher", "A", "last", ((2, 0), (3, 3), (0, 1))),
    HeadGroup("position_transmitter", "B", "last", ()),
    HeadGroup("structure_reader", "D", "previous_label", ((1, 2),)),
)


def test_patterns_are_the_models_own_attention():
    model = random_llama(layers=N_LAYERS, kv_heads=2, attn_implementation="eager")
    heads = [("last", 2, 0), ("last", 3, 3), ("label", 1, 2)]
    found = attention_from(decoder_from(model), PROMPTS, heads, 3)
    with torch.no_grad():
        literal = model(torch.as_tensor(PROMPTS.ids), output_attentions=True).attentions
    for (role, layer, head), pattern in zip(heads, found, strict=True):
        expected = literal[layer][torch.arange(len(PROMPTS)), head, torch.as_tensor(PROMPTS.roles[role])]
        np.testing.assert_allclose(pattern, expected, atol=1e-5)


def test_mean_patterns_cover_the_prompt_and_split_by_role_and_segment():
    decoder = decoder_from(random_llama(layers=N_LAYERS, kv_heads=2))
    one_length = box_prompts(5, 6)
    circuit = Circuit("m", GROUPS)
    table = mean_patterns(decoder, circuit, one_length, PatternOptions(heads=2))
    assert table[["letter", "layer", "head", "rank"]].drop_duplicates().values.tolist() == [
        ["A", 2, 0, 1],
        ["A", 3, 3, 2],
        ["D", 1, 2, 1],
    ]
    one = table[(table.letter == "A") & (table["rank"] == 1)].set_index(["kind", "to"]).attention
    pattern = attention_from(decoder, one_length, [("last", 2, 0)])[0]
    rows = np.arange(6)
    assert one["role", "label"] == pytest.approx(pattern[rows, one_length.roles["label"]].mean(), abs=1e-6)
    segments = [one["segment", str(i)] for i in (1, 2, 3)]
    query = one["role"][["query_box", "query_label", "contains", "last"]].sum()
    assert sum(segments) + query == pytest.approx(1, abs=1e-5)
    assert one["segment", "queried"] + one["segment", "others"] == pytest.approx(sum(segments), abs=1e-6)
    reader = table[table.letter == "D"]
    assert "last" not in set(reader.to)  # after the group's token there is nothing to see
    assert "bos" not in set(reader.to)
    assert set(reader.token) == {"label"}


def test_one_prompts_rows_carry_its_tokens():
    decoder = decoder_from(random_llama(layers=N_LAYERS, kv_heads=2))
    pieces = {i: f"<{i}>" for i in range(61)}
    table = prompt_patterns(decoder, Circuit("m", GROUPS), PROMPTS, 5, pieces, PatternOptions(heads=1))
    for _, rows in table.groupby("letter"):
        assert len(rows) == PROMPTS.length[5]
        assert rows.token_id.tolist() == PROMPTS.ids[5, : PROMPTS.length[5]].tolist()
        assert rows.text.tolist() == [f"<{i}>" for i in rows.token_id]
        assert rows.attention.sum() == pytest.approx(1, abs=1e-5)


def test_a_role_that_some_prompts_lack_is_left_out():
    decoder = decoder_from(random_llama(layers=N_LAYERS, kv_heads=2))
    roles = {**PROMPTS.roles, "bos": np.where(np.arange(8) < 4, 0, -1)}
    table = mean_patterns(decoder, Circuit("m", GROUPS), replace(PROMPTS, roles=roles), PatternOptions(heads=1))
    assert "bos" not in set(table.to)
