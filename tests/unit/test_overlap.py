"""Overlap of circuits and rank correlation of score maps."""

from math import comb

import numpy as np
import pandas as pd
import pytest

from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.overlap import (
    OVERLAP_COLUMNS,
    choosable,
    overlap,
    score_correlation,
    shared_by_chance,
    spearman,
)

ONE = Circuit(
    "one",
    (
        HeadGroup("g", "A", "last", ((2, 0), (1, 1), (1, 3), (0, 0))),
        HeadGroup("b", "B", "last", ((2, 1),)),
        HeadGroup("c", "C", "query_label", ()),
    ),
)
TWO = Circuit(
    "two",
    (
        HeadGroup("g", "A", "last", ((2, 0), (2, 1))),
        HeadGroup("b", "B", "last", ((1, 1),)),
        HeadGroup("c", "C", "query_label", ((0, 0),)),
    ),
)
SIZES = {"one": (3, 4), "two": (3, 4), "wide": (3, 8)}
EVERY = {(layer, head) for layer in range(3) for head in range(4)}


def negative(**searches):
    """A score table where the heads named are below 0 and the others are 0."""
    rows = [
        (name, *head, -0.1 if head in heads else 0.0) for name, heads in searches.items() for head in sorted(EVERY)
    ]
    return pd.DataFrame(rows, columns=["search", "layer", "head", "score"])


ALL = dict.fromkeys(("one", "two", "wide"), negative(g=EVERY, b=EVERY, c=EVERY))


def test_a_circuit_overlaps_with_itself_wholly():
    twin = Circuit("two", ONE.groups)
    table = overlap([ONE, twin], SIZES, ALL).set_index("group")
    for name in ("g", "b", "whole_circuit"):
        assert table.loc[name, ["precision", "recall", "jaccard"]].tolist() == [1, 1, 1]
    assert table.loc["c", ["precision", "recall", "jaccard"]].isna().all()
    assert table.loc["c", "shared"] == 0


def test_shares_by_group_and_as_a_whole():
    table = overlap([ONE, TWO], SIZES, ALL)
    assert list(table.columns) == OVERLAP_COLUMNS
    table = table.set_index("group")
    assert table.loc["g", ["heads_1", "heads_2", "shared"]].tolist() == [4, 2, 1]
    assert table.loc["g", "precision"] == 0.5
    assert table.loc["g", "recall"] == 0.25
    assert table.loc["g", "jaccard"] == pytest.approx(1 / 5)
    assert table.loc["b", "shared"] == 0
    # at `last` 2.0, 1.1 and 2.1 are in both circuits, two of them in different groups
    assert table.loc["whole_circuit", ["heads_1", "heads_2", "shared"]].tolist() == [5, 4, 3]
    assert table.loc["whole_circuit", "jaccard"] == pytest.approx(3 / 6)


def test_chance_is_what_random_sets_share():
    rng = np.random.default_rng(0)
    draws = [len(set(rng.choice(12, 4, replace=False)) & set(rng.choice(12, 2, replace=False))) for _ in range(4000)]
    chance = shared_by_chance((EVERY, EVERY), 4, 2)
    assert chance.sum() == pytest.approx(1)
    assert np.bincount(draws, minlength=3) / 4000 == pytest.approx(chance, abs=0.025)
    row = overlap([ONE, TWO], SIZES, ALL).set_index("group").loc["g"]
    assert row["chance_shared"] == pytest.approx(4 * 2 / 12)
    assert row["chance_precision"] == pytest.approx(4 / 12)
    assert row["chance_recall"] == pytest.approx(2 / 12)
    assert row["chance_jaccard"] == pytest.approx(chance[1] / 5 + chance[2] * 2 / 4)
    assert row["p_chance"] == pytest.approx(1 - comb(8, 2) / comb(12, 2))


def test_chance_is_over_the_heads_that_could_be_chosen():
    low = {(layer, head) for layer in range(2) for head in range(4)}  # what lies below the receivers
    scores = {"one": negative(g=low, b=EVERY, c=EVERY), "two": negative(g=low, b=EVERY, c=EVERY)}
    first = Circuit("one", (HeadGroup("g", "A", "last", ((0, 0), (1, 1), (1, 3))),))
    second = Circuit("two", (HeadGroup("g", "A", "last", ((0, 0), (1, 1), (0, 2))),))
    rows = [overlap([first, second], SIZES, given).set_index("group").loc["g"] for given in (scores, ALL)]
    assert [row["chance_shared"] for row in rows] == pytest.approx([3 * 3 / 8, 3 * 3 / 12])
    exact = [(3 * (total - 3) + 1) / comb(total, 3) for total in (8, 12)]
    assert [row["p_chance"] for row in rows] == pytest.approx(exact)
    assert choosable(scores["one"], ONE)["g"] == low | {(2, 0)}  # a head of the circuit could be chosen: it was


def test_chance_with_a_pool_for_each_model():
    rng = np.random.default_rng(0)
    pools = (sorted(EVERY)[:8], sorted(EVERY)[5:])
    draws = []
    for _ in range(6000):
        sets = [
            {pool[i] for i in rng.choice(len(pool), n, replace=False)} for pool, n in zip(pools, (4, 3), strict=True)
        ]
        draws.append(len(sets[0] & sets[1]))
    chance = shared_by_chance((set(pools[0]), set(pools[1])), 4, 3)
    assert chance.sum() == pytest.approx(1)
    assert np.bincount(draws, minlength=4) / 6000 == pytest.approx(chance, abs=0.02)
    assert (chance * np.arange(4)).sum() == pytest.approx(4 * 3 * 3 / (8 * 7))


def test_models_of_other_sizes_are_left_out():
    table = overlap([ONE, TWO, Circuit("wide", ONE.groups)], SIZES, ALL)
    assert set(zip(table["circuit_1"], table["circuit_2"], strict=True)) == {("one", "two")}


def test_spearman_has_mean_ranks_for_ties():
    a, b = np.array([1.0, 2.0, 2.0, 4.0]), np.array([10.0, 30.0, 20.0, 90.0])
    assert spearman(a, a) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)
    assert spearman(a, b) == pytest.approx(np.corrcoef([1, 2.5, 2.5, 4], [1, 3, 2, 4])[0, 1])
    assert np.isnan(spearman(a, np.ones(4)))
    assert np.isnan(spearman(a[:1], b[:1]))


def test_correlation_leaves_out_heads_that_cannot_matter():
    def table(values):
        rows = [("g", "A", i // 4, i % 4, score) for i, score in enumerate(values)]
        return pd.DataFrame(rows, columns=["search", "letter", "layer", "head", "score"])

    first, second = [-0.4, -0.3, 0.2, 0.1, 0, 0, 0, 0], [-0.1, -0.3, 0.2, 0, 0, 0, 0, 0]
    found = score_correlation({"one": table(first), "two": table(second), "same": table(first)})
    pairs = found.set_index(["model_1", "model_2"])
    assert pairs.loc[("one", "same"), "spearman"] == pytest.approx(1)
    assert (pairs["heads"] == 4).all()
    assert pairs.loc[("one", "two"), "spearman"] == pytest.approx(0.8)  # ranks 1 2 4 3 and 2 1 4 3
