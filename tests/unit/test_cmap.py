"""CMAP: a model into itself changes nothing; parts equal hooked whole prompts; controls keep to their tokens."""

import numpy as np
import pytest
import torch

from entity_mech.errors import UserError
from entity_mech.methods.cmap import CmapOptions, Part, Side, cmap_parts, random_heads, run_cmap
from entity_mech.methods.head_patching import heads_at, patched_predictions
from tests.helpers.box_prompts import box_prompts
from tests.helpers.cmap_sides import CIRCUIT, PROMPTS, SELECTED, A, B, D, side
from tests.helpers.literal_patching import literal_patched
from tests.helpers.random_models import decoder_from, random_llama


def literal_predictions(model, donor: Side, heads) -> np.ndarray:
    edits = [
        (
            layer,
            torch.as_tensor(PROMPTS.roles[role]),
            (head,),
            torch.as_tensor(donor.outputs.at(role, [(layer, head)])),
            torch.zeros(1),
        )
        for role, layer, head in heads
    ]
    with torch.no_grad():
        logits = literal_patched(model, torch.as_tensor(PROMPTS.ids), torch.as_tensor(PROMPTS.length - 1), edits)
    return logits.argmax(-1).numpy()


def test_parts_say_when_a_whole_group_stands_in():
    parts = {part.name: part for part in cmap_parts(CIRCUIT, SELECTED)}
    assert list(parts) == ["A", "B", "C", "D", "full", "whole_circuit"]
    assert parts["A"] == Part("A", (("last", 2, 3),), False)
    assert parts["B"] == Part("B", heads_at(B), True)  # nothing was selected for `position`
    assert parts["C"].heads == ()
    assert parts["D"] == Part("D", heads_at(D), False)  # taken whole, by design
    assert parts["full"].heads == (("last", 2, 3), *heads_at(B), *heads_at(D))
    assert parts["full"].fallback
    assert len(parts["whole_circuit"].heads) == CIRCUIT.size


@pytest.mark.parametrize("name", ["A", "B", "D", "full", "whole_circuit"])
def test_a_part_equals_hooks(name):
    base, model = side("base", 0)
    tuned, _ = side("tuned", 1)
    part = {part.name: part for part in cmap_parts(CIRCUIT, SELECTED)}[name]
    found = patched_predictions(base.load(), PROMPTS, tuned.outputs, {"x": [part.heads]}, batch=5)["x"][0]
    np.testing.assert_array_equal(found, literal_predictions(model, tuned, part.heads))
    if name in ("full", "whole_circuit"):
        assert (found != literal_predictions(model, tuned, ())).any()


def test_a_model_into_itself_changes_nothing():
    base, _ = side("base", 0)
    table = run_cmap(base, base, {"tuned": cmap_parts(CIRCUIT, SELECTED)}, CmapOptions(random_draws=2))
    assert len(table.accuracy.unique()) == 1
    variants = {"x": [heads_at(A), heads_at(D), heads_at(A) + heads_at(D), ()]}
    same = patched_predictions(base.load(), PROMPTS, base.outputs, variants)["x"]
    assert (same == same[-1]).all()


def test_the_table_has_every_part_both_ways_and_loads_each_model_once():
    loaded: list[str] = []
    base, base_model = side("base", 0, loaded)
    tuned, _ = side("tuned", 1, loaded)
    parts = cmap_parts(CIRCUIT, SELECTED)
    table = run_cmap(base, tuned, {"tuned": parts}, CmapOptions(random_draws=3))
    assert loaded == ["base", "tuned"]
    assert table.kind.tolist()[:2] == ["own", "own"]
    assert table[table.kind == "own"].target.tolist() == ["base", "tuned"]
    one = table[(table.target == "base") & (table.part == "full")]
    assert (one.donor == "tuned").all()
    assert one.kind.tolist() == ["chosen", "random", "random", "random"]
    assert one.draw.tolist()[1:] == [0, 1, 2]
    assert one.fallback.all()
    full = next(part for part in parts if part.name == "full")
    expected = literal_predictions(base_model, tuned, full.heads) == PROMPTS.answer
    assert one.accuracy.iloc[0] == expected.mean()
    empty = table[(table.target == "base") & (table.part == "C")]
    assert empty.kind.tolist() == ["chosen"]
    assert empty.accuracy.item() == table[(table.kind == "own") & (table.target == "base")].accuracy.item()
    again = run_cmap(base, tuned, {"tuned": parts}, CmapOptions(random_draws=3, batch=5))
    assert table.equals(again)


def test_one_direction_still_gives_both_own_accuracies():
    base, tuned = side("base", 0)[0], side("tuned", 1)[0]
    options = CmapOptions(random_draws=1, directions=("into_base",))
    table = run_cmap(base, tuned, {"tuned": cmap_parts(CIRCUIT, SELECTED)}, options)
    assert set(table[table.kind != "own"].target) == {"base"}
    assert (table.kind == "own").sum() == 2


def test_random_heads_are_as_many_at_the_same_tokens_outside_the_set():
    shape = side("base", 0)[0].shape
    heads = heads_at(A) + heads_at(D)
    seen = set()
    for seed in range(40):
        drawn = random_heads(heads, shape, np.random.default_rng(seed))
        assert len(set(drawn)) == len(heads)
        assert sum(role == "last" for role, _, _ in drawn) == len(A.heads)
        assert not set(drawn) & set(heads)
        seen |= set(drawn)
    assert len(seen) == 2 * 12 - len(heads)  # every head outside is drawn sooner or later
    many = tuple(("last", layer, head) for layer in range(2) for head in range(4))
    assert len(random_heads(many, shape, np.random.default_rng(0))) == 4  # only four are left outside


def test_models_that_do_not_match_are_refused_by_name():
    base, tuned = side("base", 0)[0], side("tuned", 1)[0]
    other = random_llama(layers=3, kv_heads=4, d_model=64)
    wide = Side("wide", decoder_from(other).shape, PROMPTS, tuned.outputs, tuned.load)
    with pytest.raises(UserError, match=r"base and wide .* n_kv_heads 2 and 4; d_head 8 and 16; d_model 32 and 64"):
        run_cmap(base, wide, {}, CmapOptions())
    moved = Side("moved", tuned.shape, box_prompts(9, 12, ragged=True), tuned.outputs, tuned.load)
    with pytest.raises(UserError, match=r"base and moved .* other tokens"):
        run_cmap(base, moved, {}, CmapOptions())
