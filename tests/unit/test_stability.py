"""Candidates and kept heads over resampled scenes: worked out by hand, and literally."""

import numpy as np
import pandas as pd
import pytest
from test_path_patching import CHAIN, Study

from entity_mech.errors import UserError
from entity_mech.methods.candidates import choose_circuit
from entity_mech.methods.circuits import Circuit, Group
from entity_mech.methods.path_patching import run_chain
from entity_mech.methods.pruning import Judged, PruningOptions
from entity_mech.methods.searches import PathPatchingOptions
from entity_mech.methods.stability import (
    COLUMNS,
    candidate_counts,
    kept_counts,
    read_effects,
    read_judged,
    scene_weights,
    stability,
    write_effects,
    write_judged,
)

SCORES = pd.DataFrame(
    {"search": "g", "letter": "A", "token": "last", "layer": [0, 0, 1, 1], "head": [0, 1, 0, 1], "score": 0.0}
)


def test_scenes_are_drawn_whole():
    scene = np.repeat([4, 9, 2], 7)
    weights = scene_weights(scene, 50, 3)
    assert weights.shape == (50, 21)
    by_scene = weights.reshape(50, 3, 7)
    assert (by_scene == by_scene[:, :, :1]).all()
    assert (by_scene[:, :, 0].sum(1) == 3).all()
    assert len(np.unique(by_scene[:, :, 0], axis=0)) > 5
    np.testing.assert_array_equal(scene_weights(scene, 50, 3), weights)
    assert (scene_weights(scene, 50, 4) != weights).any()


def test_candidates_by_hand():
    # Head 0.0 is always strongest; 0.1 is second where scene 0 counts as often as scene 1 or more, else 1.0 is; 1.1
    # never falls below 0.
    effects = {"g": np.array([[-9.0, -9.0], [-2.0, 0.0], [0.0, -1.9], [0.0, 0.0]])}
    weights = np.array([[1, 1], [2, 0], [0, 2], [0, 2]])
    found = candidate_counts(SCORES, effects, weights, {"g": 2})
    assert found == {("g", 0, 0): 4, ("g", 0, 1): 2, ("g", 1, 0): 2}
    assert candidate_counts(SCORES, effects, weights, {"g": 9}) == {("g", 0, 0): 4, ("g", 0, 1): 2, ("g", 1, 0): 3}


def test_kept_by_hand():
    # four scenes of one prompt: head 0 is needed in scene 3 alone, head 1 never, head 2 everywhere
    before = np.ones((3, 4), dtype=bool)
    after = np.array([[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]], dtype=bool)
    weights = np.array([[1, 1, 1, 1], [2, 2, 0, 0], [0, 1, 1, 2], [4, 0, 0, 0]])
    assert kept_counts(Judged(before, after), weights, PruningOptions(threshold=0.01)).tolist() == [2, 0, 4]
    assert kept_counts(Judged(before, after), weights, PruningOptions(threshold=0.5)).tolist() == [1, 0, 4]
    nothing = Judged(after[2:], after[2:])
    assert kept_counts(nothing, weights, PruningOptions()).tolist() == [4]  # undefined stays, as in pruning


def test_table():
    group = Group("g", "A", "last", ((0, 0),), (-9.0,), ((0, 0, -9.0), (0, 1, -2.0)))
    table = stability(Circuit("m", (group,)), {("g", 0, 0): 4, ("g", 0, 1): 2, ("g", 1, 0): 2}, np.array([4, 1]), 4)
    assert list(table.columns) == COLUMNS
    rows = table.set_index(["layer", "head"])
    assert rows["candidate"].to_dict() == {(0, 0): True, (0, 1): True, (1, 0): False}
    assert rows["kept"].to_dict() == {(0, 0): True, (0, 1): False, (1, 0): False}
    assert rows["candidate_frequency"].tolist() == [1, 0.5, 0.5]
    assert rows["kept_frequency"].tolist()[:2] == [1, 0.25]
    assert np.isnan(rows["kept_frequency"].iloc[2])  # it was never judged
    assert (rows["n_resamples"] == 4).all()


def test_the_chain_as_it_is_gives_its_own_candidates(tmp_path):
    study = Study()
    found = run_chain(study.decoder, study.clean, study.outputs, CHAIN, PathPatchingOptions(batch_size=4))
    table, keep = found.table, {search.name: 3 for search in CHAIN}
    for name, relative in found.relative.items():
        np.testing.assert_allclose(relative.mean(1), table.loc[table["search"] == name, "score"])
    scene = study.clean.scene[found.rows]
    write_effects(tmp_path / "x.h5", {"model": "m"}, scene, found.relative)
    scenes, effects = read_effects(tmp_path / "x.h5", [search.name for search in CHAIN])
    np.testing.assert_array_equal(scenes, scene)
    assert all(values.dtype == np.float16 for values in effects.values())
    once = candidate_counts(table, effects, np.ones((1, len(scene)), dtype=int), keep)
    real = {(g.name, *head) for g in choose_circuit("m", table, keep).groups for head in g.heads}
    assert set(once) == real
    # literally: prompts repeated as often as their scene was drawn, and scores averaged anew
    weights = scene_weights(scene, 30, 0)
    expected: dict[tuple[str, int, int], int] = {}
    for row in weights:
        at = np.repeat(np.arange(len(scene)), row)
        score = np.concatenate([effects[search.name].astype(float)[:, at].mean(1) for search in CHAIN])
        for group in choose_circuit("m", table.assign(score=score), keep).groups:
            for head in group.heads:
                expected[group.name, *head] = expected.get((group.name, *head), 0) + 1
    counts = candidate_counts(table, effects, weights, keep)
    assert counts == expected
    assert max(counts.values()) == 30
    assert min(counts.values()) < 30


def test_files_hold_what_was_put_in(tmp_path):
    rng = np.random.default_rng(0)
    judged = Judged(rng.random((5, 21)) < 0.5, rng.random((5, 21)) < 0.5)
    scene = np.repeat(np.arange(3), 7)
    write_judged(tmp_path / "j.h5", {"model": "m"}, scene, judged)
    scenes, again = read_judged(tmp_path / "j.h5")
    np.testing.assert_array_equal(scenes, scene)
    np.testing.assert_array_equal(again, judged)
    large = {"g": np.array([[1e6, -0.25], [0.5, -1.0]])}  # more than float16 holds
    write_effects(tmp_path / "e.h5", {}, np.arange(2), large)
    assert read_effects(tmp_path / "e.h5", ["g"])[1]["g"].tolist() == [[65504, -0.25], [0.5, -1]]
    (tmp_path / "bad.h5").write_bytes(b"no")
    with pytest.raises(UserError, match=r"bad\.h5 cannot be read"):
        read_judged(tmp_path / "bad.h5")
