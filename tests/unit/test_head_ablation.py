"""Heads ablated in the intact model, completeness and the role map, against hooked whole-prompt runs."""

import numpy as np
import pytest
import torch

from entity_mech.errors import UserError
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.completeness import COLUMNS, completeness, random_half, removed_sets
from entity_mech.methods.head_ablation import correct_without
from entity_mech.methods.role_map import enough, role_map, tokens_of
from tests.helpers.box_prompts import box_prompts
from tests.helpers.literal_circuits import head_outputs, last_logits, literal_circuit, literal_knockout
from tests.helpers.random_models import decoder_from, random_llama

ROLES = ("last", "label", "query_label")
CIRCUIT = Circuit(
    "m",
    (
        HeadGroup("g", "A", "last", ((2, 0), (1, 1), (1, 3))),
        HeadGroup("empty", "C", "query_label", ()),
        HeadGroup("h", "D", "previous_label", ((0, 2), (1, 2))),
    ),
)
VARIANTS = [
    [],
    [("last", 2, 0)],
    [("last", 1, 1), ("label", 0, 2), ("label", 2, 3)],
    [("label", 0, 1), ("last", 2, 2)],
    [("query_label", layer, head) for layer in range(3) for head in range(4)],
]


class Small:
    """A model whose right answers are, prompt by prompt, those of different variants: all get some right."""

    def __init__(self):
        self.model = random_llama(kv_heads=2, spread=0.4)
        self.decoder = decoder_from(self.model)
        self.prompts = box_prompts(3, 15, ragged=True)
        means = head_outputs(self.model, box_prompts(4, 8).ids).mean(0)
        self.means = torch.cat([means, means[:2]])
        self.positions = np.stack([self.prompts.roles[role] for role in ROLES], 1)
        best = np.stack([self.without(self.mask(variant)) for variant in VARIANTS])
        self.answer = best[np.arange(15) % len(VARIANTS), np.arange(15)]
        object.__setattr__(self.prompts, "answer", self.answer)
        object.__setattr__(self.prompts, "sets", {"other_labels": np.zeros(self.prompts.ids.shape, bool)})

    def mask(self, heads):
        mask = np.zeros((len(ROLES), 3, 4), dtype=bool)
        for role, layer, head in heads:
            mask[ROLES.index(role), layer, head] = True
        return mask

    def without(self, mask):
        rest = (self.prompts.ids, self.prompts.length, self.positions, mask, self.means)
        return literal_knockout(self.model, *rest).argmax(-1).numpy()

    def only(self, positions, mask):
        rest = (self.prompts.ids, self.prompts.length, positions, mask, self.means)
        return literal_circuit(self.model, *rest).argmax(-1).numpy()

    def whole(self):
        return last_logits(self.model, self.prompts.ids, self.prompts.length).argmax(-1).numpy()


@pytest.fixture(scope="module")
def small():
    return Small()


@pytest.mark.parametrize("batch", [None, 4])
def test_ablated_heads_equal_hooked_runs(small, batch):
    found = correct_without(small.decoder, small.prompts, small.means, VARIANTS, batch=batch)
    expected = np.stack([small.without(small.mask(variant)) == small.answer for variant in VARIANTS])
    assert not expected.all()
    assert len(set(expected.mean(1))) > 2
    np.testing.assert_array_equal(found, expected)
    assert (found[0] == (small.whole() == small.answer)).all()


def test_removed_sets_are_halves_and_groups():
    sets = removed_sets(CIRCUIT, 3, 7)
    assert [(kind, draw, group, len(heads)) for kind, draw, group, heads in sets] == [
        ("nothing", None, None, 0),
        ("half", 0, None, 2),
        ("half", 1, None, 2),
        ("half", 2, None, 2),
        ("group", None, "g", 3),
        ("group", None, "h", 2),
    ]
    assert sets[-1][-1] == [("label", 0, 2), ("label", 1, 2)]
    halves = {tuple(random_half(CIRCUIT, 7, draw)) for draw in range(12)}
    assert len(halves) > 5
    assert all(len(set(half)) == 2 for half in halves)
    assert random_half(CIRCUIT, 7, 3) == removed_sets(CIRCUIT, 9, 7)[4][-1]


def test_completeness_equals_hooked_runs(small):
    table = completeness(small.decoder, small.prompts, small.means, CIRCUIT, draws=4, seed=7)
    assert list(table.columns) == COLUMNS
    circuit = CIRCUIT.to_mask(ROLES, 3, 4)
    for row, (*_, heads) in zip(table.itertuples(), removed_sets(CIRCUIT, 4, 7), strict=True):
        removed = small.mask(heads)
        ours = (small.only(small.positions, circuit & ~removed) == small.answer).mean()
        theirs = (small.without(removed) == small.answer).mean()
        assert row.accuracy_circuit == pytest.approx(ours)
        assert row.accuracy_model == pytest.approx(theirs)
        assert row.difference == pytest.approx(ours - theirs)
        assert row.incompleteness == pytest.approx(abs(ours - theirs))
        assert row.low <= row.difference <= row.high
        if theirs:
            both = (small.only(small.positions, circuit & ~removed) == small.answer) & (
                small.without(removed) == small.answer
            )
            assert row.recall == pytest.approx(both.mean() / theirs)
    assert table["incompleteness"].max() > 0


def test_the_full_model_is_complete():
    model = random_llama(kv_heads=2, spread=0.4)
    prompts = box_prompts(3, 6, boxes=2)
    means = head_outputs(model, box_prompts(4, 8, boxes=2).ids).mean(0)
    object.__setattr__(prompts, "answer", last_logits(model, prompts.ids, prompts.length).argmax(-1).numpy())
    everything = tuple((layer, head) for layer in range(3) for head in range(4))
    # every token a role of its own: two boxes are 18 tokens, at the same places in every prompt
    roles = {f"t{i}": np.full(6, i) for i in range(17)} | {"last": np.full(6, 17)}
    object.__setattr__(prompts, "roles", roles)
    circuit = Circuit("m", tuple(HeadGroup(role, "X", role, everything) for role in roles))
    table = completeness(decoder_from(model), prompts, means, circuit, draws=3)
    assert table["incompleteness"].max() == 0
    assert table.loc[0, "accuracy_circuit"] == 1
    assert table["accuracy_circuit"].min() < 1
    assert (table["recall"].dropna() == 1).all()


def test_named_tokens(small):
    prompts = small.prompts
    both = tokens_of(prompts, ("segment", "query"))
    assert (both.sum(1) == 11).all()
    assert all(both[i, prompts.roles[role][i]] for i in range(15) for role in ("the", "separator", "last"))
    assert (tokens_of(prompts, ("everything",)).sum(1) == prompts.length).all()
    assert (tokens_of(prompts, ("last", "label", "last")).sum(1) == 2).all()
    with pytest.raises(UserError, match="'lable'"):
        tokens_of(prompts, ("lable",))


def test_heads_kept_at_some_tokens_alone_equal_hooked_runs(small):
    kept = tokens_of(small.prompts, ("label", "contains", "last"))
    kept[1::4] = tokens_of(small.prompts, ("label", "query"))[1::4]  # other numbers of tokens
    kept[2::4] = tokens_of(small.prompts, ("label", "contains"))[2::4]  # last is ablated
    found = enough(small.decoder, small.prompts, small.means, kept)
    expected = np.zeros(15, dtype=bool)
    for i in range(15):
        positions = np.tile(np.flatnonzero(kept[i]), (15, 1))
        everything = np.ones((positions.shape[1], 3, 4), dtype=bool)
        expected[i] = small.only(positions, everything)[i] == small.answer[i]
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(found, expected)


def test_role_map(small):
    right = small.whole() == small.answer
    sets = [("everything",), ("label", "query_label", "last"), ("last",), ("last",)]
    needed = ("query_label", "bos", "label")
    table = role_map(small.decoder, small.prompts, small.means, right, needed=needed, sets=sets)
    assert [(row.kind, row.tokens) for row in table.itertuples()] == [
        ("intact", ""),
        ("needed", "query_label"),
        ("needed", "label"),
        ("enough", "everything"),
        ("enough", "label+query_label+last"),
        ("enough", "last"),
    ]
    accuracy = table.set_index("tokens")["accuracy"]
    assert accuracy["everything"] == accuracy[""] == right.mean()
    assert 0 < right.mean() < 1
    assert accuracy.nunique() > 2
    whole = small.mask(VARIANTS[-1])
    assert accuracy["query_label"] == pytest.approx((small.without(whole) == small.answer).mean())
    for names in (("label", "query_label", "last"), ("last",)):
        positions = small.positions[:, [ROLES.index(name) for name in names]]
        only = small.only(positions, np.ones((len(names), 3, 4), dtype=bool)) == small.answer
        assert accuracy["+".join(names)] == pytest.approx(only.mean())
