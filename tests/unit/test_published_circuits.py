"""Selection and pruning, fed with the paper's own scores and accuracies, give the paper's own circuits."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from entity_mech.config.load import load_config
from entity_mech.files import read_plain_table
from entity_mech.methods.candidates import choose_circuit
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.given import chain_groups, given_circuit, given_scores
from entity_mech.methods.pruning import (
    PruningOptions,
    Removal,
    keep_significant,
    knocked_out,
    pair_matrix,
    significance_table,
)
from entity_mech.methods.searches import PathSearch, searches_from

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "published"
PAPER = load_config(yaml.safe_load((ROOT / "config/paper.yaml").read_text()), check_files=False)
SIZE = (32, 32)
LLAMA, GOAT = "llama-7b", "goat-7b"
THRESHOLD = {LLAMA: 0.01, GOAT: 0.0}
CANDIDATES = {LLAMA: [50, 10, 25, 5], GOAT: [80, 30, 50, 40]}
KEPT = {LLAMA: [40, 7, 20, 5], GOAT: [68, 28, 40, 39]}
OFFSETS = {LLAMA: [0, 0, 0, 0], GOAT: [0, 0.00333, -0.02352, 0.017218]}
MODELS = pytest.mark.parametrize("model", [LLAMA, GOAT])


def searches(model: str) -> list[PathSearch]:
    return searches_from([search.model_dump() for search in PAPER.searches_for(model)])


def keep(model: str) -> dict[str, int]:
    return {search.name: int(search.keep) for search in searches(model)}


def candidates(model: str) -> Circuit:
    """What the package chooses from the published scores, by the numbers of config/paper.yaml."""
    scores, _ = given_scores(PUBLISHED / model / "scores.csv", searches(model), SIZE)
    return choose_circuit(model, scores, keep(model))


def table(model: str, name: str) -> pd.DataFrame:
    return read_plain_table(PUBLISHED / model / f"{name}.csv")


def heads(rows: pd.DataFrame, group: str) -> set[tuple[int, int]]:
    own = rows[rows["group"] == group]
    return set(zip(own["layer"], own["head"], strict=True))


def published_accuracies(model: str, circuit: Circuit):
    """The accuracies that the paper measured: of C - K of each head in the circuit's order, then of C - K - v."""
    order = [(group.name, *head) for group in circuit.groups for head in group.heads]
    rows = table(model, "minimality").set_index(["group", "layer", "head"]).loc[order]

    def accuracy(removals: Sequence[Removal]) -> np.ndarray:
        assert len(removals) == 2 * len(order), "no head was judged twice in the published run"
        for i, (group, layer, head) in enumerate(order):
            assert removals[len(order) + i] == (group, (*removals[i][1], (layer, head)))
        return rows[["accuracy_without_K", "accuracy_without_K_and_head"]].to_numpy().T.ravel()

    return accuracy


def pruned(model: str, threshold: float) -> Circuit:
    circuit = candidates(model)
    given = (circuit, table(model, "pairs"), published_accuracies(model, circuit))
    return keep_significant(circuit, significance_table(*given, PruningOptions(threshold, 0.3)))


def sizes(circuit: Circuit) -> list[int]:
    return [len(group.heads) for group in circuit.groups]


@MODELS
def test_the_published_scores_choose_the_heads_that_the_paper_pruned(model):
    circuit, judged = candidates(model), table(model, "minimality")
    assert sizes(circuit) == CANDIDATES[model]
    for group in circuit.groups:
        assert set(group.heads) == heads(judged, group.name), group.name


@MODELS
def test_pruning_by_the_published_accuracies_gives_the_published_circuit(model):
    wanted, _ = given_circuit(PUBLISHED / model / "circuit.json", model, chain_groups(searches(model)), SIZE)
    found = pruned(model, THRESHOLD[model])
    assert sizes(found) == KEPT[model]
    assert found.size == {LLAMA: 72, GOAT: 175}[model]
    for mine, theirs in zip(found.groups, wanted.groups, strict=True):
        assert set(mine.heads) == set(theirs.heads), mine.name


def test_one_threshold_for_both_gives_other_circuits():
    """The paper used .01 for Llama and 0 for Goat: at .01 Goat would have half its heads (method, section 5)."""
    assert pruned(GOAT, 0.01).size == 90
    assert pruned(LLAMA, 0.0).size > 72


@MODELS
def test_the_offset_of_each_published_map(model):
    """Goat's maps into heads are shifted, as the last layer shows; Llama's are not."""
    scores, offsets = given_scores(PUBLISHED / model / "scores.csv", searches(model), SIZE)
    assert list(offsets.values()) == OFFSETS[model]
    into_heads = scores[scores["search"] != "value_fetcher"]
    assert (into_heads.loc[into_heads["layer"] == 31, "score"] == 0).all()


def test_goats_published_d_scores_choose_four_heads_unless_the_offset_is_taken_off():
    raw = table(GOAT, "scores")
    above = raw[(raw["search"] == "structure_reader") & (raw["layer"] >= 13)]  # of all receivers
    assert len(above) == 608
    assert set(above["score"]) == {0.017218}
    for name, letter, token in chain_groups(searches(GOAT)):
        raw.loc[raw["search"] == name, ["letter", "token"]] = [letter, token]
    shifted = choose_circuit(GOAT, raw, keep(GOAT)).group("structure_reader")
    paper = heads(table(GOAT, "minimality"), "structure_reader")
    assert len(shifted.heads) == 4
    assert set(shifted.heads) < paper
    assert set(candidates(GOAT).group("structure_reader").heads) == paper
    assert len(paper) == 40


def right_sets(group: HeadGroup, matrix: np.ndarray, v: int, chosen: list[int], fraction: float) -> bool:
    """Whether K may be this: as many as there may be, none with less drop than one left out; ties in any order."""
    drop = np.round(np.diag(matrix) - matrix[:, v], 6)
    others = [u for u in range(len(group.heads)) if u != v and drop[u] > 0]
    left = [u for u in others if u not in chosen]
    full = len(chosen) == min(len(others), ceil(fraction * len(group.heads)))
    return full and set(chosen) <= set(others) and (not left or drop[chosen].min() >= drop[left].max())


def tied(matrix: np.ndarray, v: int, chosen: list[int]) -> bool:
    """Whether a head left out has the same drop as one of K, so that the published run took either."""
    drop = np.round(np.diag(matrix) - matrix[:, v], 6)
    left = [u for u in range(len(matrix)) if u != v and u not in chosen and drop[u] > 0]
    return bool(chosen and left and drop[left].max() == drop[chosen].min())


@pytest.mark.parametrize(("model", "ties"), [(LLAMA, 57), (GOAT, 113)])
def test_the_sets_removed_beside_a_head_are_those_of_the_published_drops(model, ties):
    circuit, pairs, found = candidates(model), table(model, "pairs"), 0
    for group in circuit.groups:
        matrix = pair_matrix(group, pairs)
        for v in range(len(group.heads)):
            chosen = knocked_out(group, matrix, v, 0.3)
            assert right_sets(group, matrix, v, chosen, 0.3), (group.name, group.heads[v])
            found += tied(matrix, v, chosen)
    assert found == ties


def test_a_wrong_set_is_told_from_a_right_one():
    group = HeadGroup("a", "A", "last", ((0, 0), (0, 1), (0, 2)))
    matrix = np.array([[0.9, 0.5, 0.7], [0.5, 0.9, 0.8], [0.7, 0.8, 0.9]])
    assert knocked_out(group, matrix, 0, 0.3) == [1]
    assert right_sets(group, matrix, 0, [1], 0.3)
    assert not right_sets(group, matrix, 0, [2], 0.3)
    assert not right_sets(group, matrix, 0, [], 0.3)
