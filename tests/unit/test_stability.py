"""Candidates and kept heads over resampled scenes: worked out by hand, and literally."""

import numpy as np
import pandas as pd
import pytest

from entity_mech.errors import UserError
from entity_mech.methods.candidates import choose_circuit
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.head_scores import join_effects, scored_rows, write_effects
from entity_mech.methods.path_patching import chain_table, run_chain
from entity_mech.methods.pruning import Judged, PruningOptions
from entity_mech.methods.searches import PathPatchingOptions
from entity_mech.methods.stability import (
    COLUMNS,
    candidate_counts,
    kept_counts,
    read_judged,
    scene_weights,
    stability,
    write_judged,
)
from tests.helpers.path_patching_chain import CHAIN, ChainSetting

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
    one = PruningOptions(threshold=0.01, least_prompts=1)
    assert kept_counts(Judged(before, after), weights, one).tolist() == [2, 0, 4]
    assert kept_counts(Judged(before, after), weights, PruningOptions(threshold=0.01)).tolist() == [1, 0, 4]
    assert kept_counts(Judged(before, after), weights, PruningOptions(threshold=0.5)).tolist() == [1, 0, 4]
    nothing = Judged(after[2:], after[2:])
    assert kept_counts(nothing, weights, PruningOptions()).tolist() == [4]  # undefined stays, as in pruning


def test_table():
    group = HeadGroup("g", "A", "last", ((0, 0),), (-9.0,), ((0, 0, -9.0), (0, 1, -2.0)))
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
    study, options = ChainSetting(), PathPatchingOptions(batch_size=4)
    scored = study.scored(options)
    found = run_chain(scored, CHAIN, options)
    shape, keep = study.decoder.shape, {search.name: 3 for search in CHAIN}
    table, effects = chain_table(CHAIN, found, shape.n_heads), {}
    for name, kinds in found.items():
        write_effects(tmp_path / f"{name}.h5", {}, list(range(shape.n_layers)), scored.rows, kinds)
        effects[name] = join_effects([tmp_path / f"{name}.h5"], {}, shape.n_layers, shape.n_heads)[
            "corrupted"
        ].relative
        np.testing.assert_array_equal(scored_rows(tmp_path / f"{name}.h5"), scored.rows)
    scene = study.clean.scene[scored.rows]
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
    (tmp_path / "bad.h5").write_bytes(b"no")
    with pytest.raises(UserError, match=r"bad\.h5 carries no seal"):
        read_judged(tmp_path / "bad.h5")
