"""Heads that come back after pruning broke a circuit: by hand, and in planted models that pruning breaks."""

import numpy as np
import pandas as pd
import pytest

from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.pruning import PruningOptions, prune_circuit
from entity_mech.methods.put_back import SUMMARY_COLUMNS, by_score, only, placed, put_back, put_back_json, restore
from entity_mech.methods.sense import broken_pruning, coarse_pruning
from entity_mech.methods.stability import kept_counts
from entity_mech.models.planted.variants import VARIANTS
from tests.helpers.planted_models import (
    DISTRACTORS,
    heads_of,
    mean_outputs,
    planted_circuit,
    planted_decoder,
    planted_prompts,
)

N = 100
A, B, C, D = (1, 0), (2, 0), (3, 0), (4, 0)
X, Y = (0, 1), (0, 2)
OPTIONS = PruningOptions()


def made_up(right):
    """Answers of circuits: as many prompts as a function of their heads says."""

    def answers(circuits):
        counts = [right({head for _, head in placed(circuit)}) for circuit in circuits]
        return np.arange(N) < np.array(counts)[:, None]

    return answers


CANDIDATES = Circuit(
    "m",
    (
        HeadGroup("g", "A", "last", (A, B, C, D), (-0.5, -0.4, -0.3, -0.01)),
        HeadGroup("h", "B", "label", (X, Y), (-9.0, -8.0)),
    ),
)
NOTHING = only(CANDIDATES, [])


def returned(right, pruned=NOTHING, options=OPTIONS):
    found = restore(CANDIDATES, pruned, made_up(right), options)
    assert set(placed(found.circuit)) == set(placed(pruned)) | {one.placed for one in found.returned}
    return {one.head: one.stands_in_for for one in found.returned}


def test_scores_are_compared_within_their_search():
    # h's scores are twenty times those of g; the strongest of each is as strong
    assert [head for _, head in by_score(CANDIDATES, placed(CANDIDATES))] == [A, X, Y, B, C, D]
    assert [head for _, head in by_score(CANDIDATES, [("g", D), ("g", B), ("h", Y)])] == [Y, B, D]


def test_a_circuit_that_holds_stays():
    assert returned(lambda heads: 90 if heads != {A, B, C, D, X, Y} else 100) == {}
    assert returned(lambda heads: 89, CANDIDATES) == {}
    # Of two right answers half are lost, but that is one prompt
    assert returned(lambda heads: 1 + (len(heads) == 6)) == {}
    assert returned(lambda heads: 0 if len(heads) < 6 else 100, options=PruningOptions(restore_below=0.0)) == {}


def test_heads_that_each_suffice_come_back_together():
    # X comes back on the way to B, which alone suffices when A is not there; and goes again
    assert returned(lambda heads: 100 if heads & {B, C} else 3) == {B: None, C: B}


def test_a_head_that_does_half_the_work_does_not_stand_in():
    assert returned(lambda heads: 100 if B in heads else 50 if C in heads else 0) == {B: None}


def test_many_heads_that_do_a_little_come_back_as_far_as_it_takes():
    assert returned(lambda heads: 70 + 5 * len(heads)) == {A: None, X: None, Y: None, B: None}


def test_two_that_only_work_together_come_back():
    assert returned(lambda heads: 100 if {C, Y} <= heads else 10) == {Y: None, C: None}


def test_other_groups_do_not_stand_in():
    assert returned(lambda heads: 100 if heads & {A, X} else 10) == {A: None}


def distractors_in(circuit):
    planted = VARIANTS[circuit.model].heads
    return sum(len(heads - set(planted(letter))) for letter, heads in heads_of(circuit).items())


@pytest.fixture(scope="module")
def pruned():
    """What minimality leaves of a planted circuit, and what comes of it."""
    found = {}

    def prune(name, n=140, options=OPTIONS):
        if (name, n, options) not in found:
            given = (planted_decoder(name), planted_prompts("pruning", n), mean_outputs(name), planted_circuit(name))
            minimal = prune_circuit(*given, options)
            found[name, n, options] = minimal, put_back(*given, minimal, options)
        return found[name, n, options]

    return prune


@pytest.mark.parametrize(("name", "n"), [("redundant", 140), ("hard_repaired", 301)])
def test_the_planted_circuits_that_pruning_breaks_hold(pruned, name, n):
    minimal, found = pruned(name, n)
    row = found.summary.iloc[0]
    assert minimal.circuit.group("value_fetcher").heads == ()
    assert row["faithfulness_minimal"] < 0.1
    assert row["faithfulness_before"] > 0.97
    assert row["faithfulness_after"] > 0.97
    heads = heads_of(found.circuit)
    assert heads["A"] == set(VARIANTS[name].heads("A"))
    for letter in "BC":
        assert heads[letter] == set(VARIANTS[name].heads(letter))
    assert heads["D"] <= set(VARIANTS[name].heads("D"))
    assert row[["candidates", "minimal", "put_back", "kept"]].tolist() == [
        planted_circuit(name).size, minimal.circuit.size, 3, found.circuit.size
    ]  # fmt: skip
    said = broken_pruning(name, row.to_dict())
    assert "3 heads came back" in said
    assert row["names"] in said


def test_tables_and_stability_know_what_came_back(pruned):
    minimal, found = pruned("redundant")
    table = found.significance
    back = [(one["layer"], one["head"]) for one in put_back_json(found.returned)]
    assert back[0] == (4, 1)
    assert put_back_json(found.returned)[0]["does_the_work_of"] is None
    assert put_back_json(found.returned)[1]["does_the_work_of"] == [4, 1]
    marked = table[table["put_back"]]
    assert (
        set(zip(marked["layer"], marked["head"], strict=True)) == set(back) == set(VARIANTS["redundant"].heads("A"))
    )
    assert table["kept"].sum() == found.circuit.size
    assert not (minimal.significance["kept"].to_numpy() & table["put_back"].to_numpy()).any()
    # what they rest on is the circuit with them and without them, and that stands on any scenes
    every = kept_counts(found.judged, np.ones((1, 140), dtype=int), OPTIONS)
    assert (every == table["kept"].astype(int)).all()
    assert list(found.summary.columns) == SUMMARY_COLUMNS


def test_circuits_that_pruning_does_not_break_stay(pruned):
    minimal, found = pruned("object")
    assert found.circuit == minimal.circuit
    assert heads_of(found.circuit) == {letter: set(VARIANTS["object"].heads(letter)) for letter in DISTRACTORS}
    pd.testing.assert_frame_equal(found.significance.drop(columns="put_back"), minimal.significance)
    assert broken_pruning("object", found.summary.iloc[0].to_dict()) == ""


def test_one_prompt_keeps_no_head_of_a_model_that_answers_few(pruned):
    """At accuracy .67 one of 140 prompts is 1.5%, more than the threshold."""
    published, _ = pruned("hard", options=PruningOptions(least_prompts=1))
    minimal, found = pruned("hard")
    lost = (minimal.significance["accuracy_without_K"] - minimal.significance["accuracy_without_K_and_head"]) * 140
    assert (lost[minimal.significance["kept"]].round() >= 2).all()
    assert distractors_in(minimal.circuit) == 0 < distractors_in(published.circuit)
    said = coarse_pruning("hard", found.summary.iloc[0].to_dict())
    assert said.startswith("2 of the 140 pruning prompts are more than pruning.threshold (0.01): ")
    assert coarse_pruning("hard", {**found.summary.iloc[0], "n": 500}) == ""
