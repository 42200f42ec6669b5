"""CMAP: a model into itself changes nothing; parts equal hooked whole prompts; controls keep to their tokens."""

from dataclasses import replace

import numpy as np
import pytest

from entity_mech.engine.donor_heads import heads_only
from entity_mech.errors import UserError
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.cmap import CmapOptions, Part, Side, cmap_parts, gains, heads_of_both, random_heads, run_cmap
from entity_mech.methods.donors import DonorOutputs
from entity_mech.methods.head_patching import Patch, heads_at, patched_predictions, run_patches
from entity_mech.methods.intervals import difference_interval, share_interval
from tests.helpers.box_prompts import box_prompts
from tests.helpers.cmap_sides import CIRCUIT, PROMPTS, SELECTED, A, B, D, side
from tests.helpers.literal_circuits import head_outputs, last_logits
from tests.helpers.literal_donors import literal_contributions
from tests.helpers.random_models import decoder_from, random_llama

TAKEN = heads_of_both(CIRCUIT)


def own_predictions(seed: int) -> np.ndarray:
    model = random_llama(layers=3, kv_heads=2, seed=seed, spread=0.35)
    return last_logits(model, PROMPTS.ids, PROMPTS.length).argmax(-1).numpy()


def literal_predictions(model, donor, heads) -> np.ndarray:
    return literal_contributions(model, donor, PROMPTS, heads, head_outputs(donor, PROMPTS.ids)).argmax(-1).numpy()


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
    tuned, donor = side("tuned", 1)
    part = {part.name: part for part in cmap_parts(CIRCUIT, SELECTED)}[name]
    source = DonorOutputs(heads_only(tuned.load()), tuned.outputs)
    found = run_patches(base.load(), PROMPTS, {"x": Patch(source, [part.heads])}, batch=5)["x"][0]
    np.testing.assert_array_equal(found, literal_predictions(model, donor, part.heads))
    if name in ("full", "whole_circuit"):
        assert (found != literal_predictions(model, donor, ())).any()


def test_a_model_into_itself_changes_nothing():
    base, model = side("base", 0)
    parts = {"tuned": cmap_parts(CIRCUIT, SELECTED)}
    table = run_cmap(base, base, parts, TAKEN, CmapOptions(random_draws=2))
    own = (literal_predictions(model, model, ()) == PROMPTS.answer).mean()
    assert 0.3 < own < 0.7
    assert table.accuracy.unique().tolist() == [own]
    assert (table.gain.dropna() == 0).all()
    other = run_cmap(base, side("tuned", 1)[0], parts, TAKEN, CmapOptions(random_draws=2))
    assert (other[other.target == "base"].accuracy != own).any(), "another model does change something"
    variants = {"x": [heads_at(A), heads_at(D), heads_at(A) + heads_at(D), ()]}
    same = patched_predictions(base.load(), PROMPTS, base.outputs, variants)["x"]
    assert (same == same[-1]).all()


def test_the_table_has_every_part_both_ways_and_loads_a_model_when_it_is_needed():
    loaded: list[str] = []
    base, base_model = side("base", 0, loaded)
    tuned, tuned_model = side("tuned", 1, loaded)
    parts = cmap_parts(CIRCUIT, SELECTED)
    full = next(part for part in parts if part.name == "full")
    patched = literal_predictions(base_model, tuned_model, full.heads)
    prompts = replace(PROMPTS, answer=np.where(np.arange(12) % 3 == 2, patched, PROMPTS.answer))
    base, tuned = replace(base, prompts=prompts), replace(tuned, prompts=prompts)
    table = run_cmap(base, tuned, {"tuned": parts}, TAKEN, CmapOptions(random_draws=3))
    assert loaded == ["tuned", "base", "tuned"]  # its heads first; in memory is one model at a time
    assert table.kind.tolist()[:2] == ["own", "own"]
    assert table[table.kind == "own"].target.tolist() == ["base", "tuned"]
    ways = table[table.target == "base"].groupby("part")["way"].agg(set).to_dict()
    both = {"outputs", "direct"}
    assert ways == {"A": both, "B": both, "C": both, "D": both, "full": {"outputs"}, "whole_circuit": {"outputs"}}
    one = table[(table.target == "base") & (table.part == "full")]
    assert (one.donor == "tuned").all()
    assert one.kind.tolist() == ["chosen", "random", "random", "random"]
    assert one.draw.tolist()[1:] == [0, 1, 2]
    assert one.fallback.all()
    assert one.accuracy.iloc[0] == (patched == prompts.answer).mean()
    assert 0.3 < one.accuracy.iloc[0] < 0.7
    empty = table[(table.target == "base") & (table.part == "C")]
    assert empty.kind.tolist() == ["chosen", "chosen"]
    own = table[(table.kind == "own") & (table.target == "base")].accuracy.item()
    assert empty.accuracy.tolist() == [own, own]
    again = run_cmap(base, tuned, {"tuned": parts}, TAKEN, CmapOptions(random_draws=3, batch=5))
    assert table.equals(again)


def test_one_direction_still_gives_both_own_accuracies():
    base, tuned = side("base", 0)[0], side("tuned", 1)[0]
    options = CmapOptions(random_draws=1, directions=("into_base",))
    table = run_cmap(base, tuned, {"tuned": cmap_parts(CIRCUIT, SELECTED)}, TAKEN, options)
    assert set(table[table.kind != "own"].target) == {"base"}
    assert (table.kind == "own").sum() == 2


def test_random_heads_are_as_many_at_the_same_tokens_outside_both_circuits():
    shape = side("base", 0)[0].shape
    other = Circuit(
        "base", (HeadGroup("value_fetcher", "A", "last", ((0, 0),)), HeadGroup("d", "D", "label", ((2, 2),)))
    )
    taken = heads_of_both(CIRCUIT, other)
    assert taken == {*heads_at(A), *heads_at(B), *heads_at(D), ("last", 0, 0), ("label", 2, 2)}
    drawn = random_heads(heads_at(A) + heads_at(D), taken, shape, 40, 3)
    assert len({frozenset(heads) for heads in drawn}) == 40
    for heads in drawn:
        assert len(set(heads)) == len(heads) == 5
        assert sum(role == "last" for role, _, _ in heads) == len(A.heads)
        assert not set(heads) & taken  # B's heads are at A's token
    assert len({head for heads in drawn for head in heads}) == 2 * 12 - len(taken)  # all others, sooner or later


def test_random_heads_end_where_no_others_are_left():
    shape = side("base", 0)[0].shape
    but_two = frozenset(("last", layer, head) for layer in range(3) for head in range(4)) - {
        ("last", 0, 1),
        ("last", 2, 2),
    }
    assert random_heads((("last", 0, 0),), but_two, shape, 20, 0) == [(("last", 0, 1),), (("last", 2, 2),)]
    assert random_heads(heads_at(A), but_two, shape, 20, 0) == []
    base, tuned = side("base", 0)[0], side("tuned", 1)[0]
    table = run_cmap(base, tuned, {"tuned": cmap_parts(CIRCUIT, SELECTED)}, but_two, CmapOptions())
    counts = table[table.target == "base"].groupby("part").size()
    assert counts.to_dict() == {"A": 6, "B": 4, "C": 2, "D": 42, "full": 1, "whole_circuit": 1}


def test_gains_are_paired_with_both_models():
    base, base_model = side("base", 0)
    tuned, tuned_model = side("tuned", 1)
    table = run_cmap(base, tuned, {"tuned": cmap_parts(CIRCUIT, SELECTED)}, TAKEN, CmapOptions(random_draws=1))
    right = {"base": own_predictions(0) == PROMPTS.answer, "tuned": own_predictions(1) == PROMPTS.answer}
    assert right["base"].sum() != right["tuned"].sum()
    full = next(part for part in cmap_parts(CIRCUIT, SELECTED) if part.name == "full")
    for target, donor, model, other in (
        (base, tuned, base_model, tuned_model),
        (tuned, base, tuned_model, base_model),
    ):
        row = table[(table.target == target.name) & (table.part == "full") & (table.kind == "chosen")].iloc[0]
        patched = literal_predictions(model, other, full.heads) == PROMPTS.answer
        assert (patched != right[target.name]).any()
        gain = difference_interval(patched, right[target.name], PROMPTS.scene)
        share = share_interval(patched, right[target.name], right[donor.name], PROMPTS.scene)
        np.testing.assert_allclose(row[["gain", "gain_low", "gain_high"]].astype(float), gain)
        np.testing.assert_allclose(row[["share", "share_low", "share_high"]].astype(float), share)


def test_the_share_is_of_the_way_to_the_donor():
    base, tuned = np.arange(100) < 40, np.arange(100) < 80
    half, scene = np.arange(100) < 60, np.arange(100) // 4
    into_base, into_tuned = gains(half, base, tuned, scene), gains(half, tuned, base, scene)
    assert (into_base["gain"], into_tuned["gain"]) == pytest.approx((0.2, -0.2))
    assert into_base["share"] == into_tuned["share"] == pytest.approx(0.5)
    assert gains(tuned, base, tuned, scene)["share"] == 1
    assert gains(base, base, tuned, scene)["share"] == 0


def test_models_that_do_not_match_are_refused_by_name():
    base, tuned = side("base", 0)[0], side("tuned", 1)[0]
    other = random_llama(layers=3, kv_heads=4, d_model=64)
    wide = Side("wide", decoder_from(other).shape, PROMPTS, tuned.outputs, tuned.load)
    with pytest.raises(UserError, match=r"base and wide .* n_kv_heads 2 and 4; d_head 8 and 16; d_model 32 and 64"):
        run_cmap(base, wide, {}, TAKEN, CmapOptions())
    moved = Side("moved", tuned.shape, box_prompts(9, 12, ragged=True), tuned.outputs, tuned.load)
    with pytest.raises(UserError, match=r"base and moved .* other tokens"):
        run_cmap(base, moved, {}, TAKEN, CmapOptions())
