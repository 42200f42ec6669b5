"""How alike two models' circuits and score maps are (method, section 6; paper, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

from entity_mech.methods.circuits import Circuit

WHOLE = "whole_circuit"
OVERLAP_COLUMNS = [
    "circuit_1", "circuit_2", "group", "letter", "heads_1", "heads_2", "shared", "precision", "recall", "jaccard",
    "chance_shared", "chance_precision", "chance_recall", "chance_jaccard", "p_chance",
]  # fmt: skip


def shared_by_chance(total: int, first: int, second: int) -> np.ndarray:
    """Probability of sharing 0, 1, ... heads when two sets are drawn from `total` heads at random."""
    ways = [comb(first, shared) * comb(total - first, second - shared) for shared in range(min(first, second) + 1)]
    return np.array([way / comb(total, second) for way in ways])


def overlap(circuits: Sequence[Circuit], sizes: Mapping[str, tuple[int, int]]) -> pd.DataFrame:
    """Every pair of circuits, group by group and as a whole.

    Args:
        circuits: in the order of the config; of each pair the first is the reference.
        sizes: (layers, heads) by model; pairs of models of different sizes are left out.

    Columns: circuit_1, circuit_2, group (or whole_circuit), letter, heads_1, heads_2, shared, precision (shared
    over the second's), recall (over the first's), jaccard, the same for random sets of these sizes (for
    precision, recall and jaccard their expectation), p_chance (probability that random sets share as many or
    more). Shares of an empty group are undefined. In the whole a head counts once a token role.
    """
    rows: list[tuple[object, ...]] = []
    for first, second in combinations(circuits, 2):
        if sizes[first.model] == sizes[second.model]:
            n_layers, n_heads = sizes[first.model]
            rows += compare(first, second, n_layers * n_heads)
    return pd.DataFrame(rows, columns=OVERLAP_COLUMNS)


def compare(first: Circuit, second: Circuit, total: int) -> list[tuple[object, ...]]:
    """Rows of `overlap` for one pair; total: heads of the model."""
    rows: list[tuple[object, ...]] = []
    others = {group.name: group for group in second.groups}
    for group in first.groups:
        heads = set(group.heads)
        other = set(others[group.name].heads) if group.name in others else set()
        chance = shared_by_chance(total, len(heads), len(other))
        about = (first.model, second.model, group.name, group.letter)
        rows.append((*about, *_measures(len(heads), len(other), len(heads & other), chance)))
    ours, theirs = _by_role(first), _by_role(second)
    chance = np.ones(1)
    for role in {**ours, **theirs}:
        at_role = shared_by_chance(total, len(ours.get(role, ())), len(theirs.get(role, ())))
        chance = np.convolve(chance, at_role)
    shared = sum(len(heads & theirs.get(role, set())) for role, heads in ours.items())
    n_ours, n_theirs = (sum(map(len, heads.values())) for heads in (ours, theirs))
    rows.append((first.model, second.model, WHOLE, "", *_measures(n_ours, n_theirs, shared, chance)))
    return rows


def _by_role(circuit: Circuit) -> dict[str, set[tuple[int, int]]]:
    found: dict[str, set[tuple[int, int]]] = {role: set() for role in circuit.roles}
    for group in circuit.groups:
        found[group.role] |= set(group.heads)
    return found


def _measures(first: int, second: int, shared: int, chance: np.ndarray) -> tuple[int | float, ...]:
    counts = np.arange(len(chance))
    either = first + second - counts
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall, jaccard = (np.divide(counts, n) for n in (second, first, either))
        own = [np.divide(shared, n) for n in (second, first, first + second - shared)]
    random = [float((chance * values).sum()) for values in (counts, precision, recall, jaccard)]
    return first, second, shared, *map(float, own), *random, float(chance[shared:].sum())


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation, ties at their mean rank; NaN when either is constant or has fewer than two values."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    ranks = np.stack([pd.Series(values).rank().to_numpy() for values in (a, b)])
    ranks -= ranks.mean(1, keepdims=True)
    return float((ranks[0] * ranks[1]).sum() / np.sqrt((ranks**2).sum(1).prod()))


def score_correlation(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rank correlation of the score maps of every pair of models, search by search.

    scores: path-patching tables by model. Heads that score exactly 0 in both models are left out: they sit
    above all receivers and cannot matter. Columns: model_1, model_2, search, letter, heads, spearman.
    """
    rows = []
    for (first, a), (second, b) in combinations(scores.items(), 2):
        both = a.merge(b, on=["search", "letter", "layer", "head"], suffixes=("_1", "_2"), sort=False)
        both = both[(both["score_1"] != 0) | (both["score_2"] != 0)]
        for name in dict.fromkeys(a["search"]):
            part = both[both["search"] == name]
            letter = a.loc[a["search"] == name, "letter"].iloc[0]
            value = spearman(part["score_1"].to_numpy(), part["score_2"].to_numpy())
            rows.append((first, second, name, letter, len(part), value))
    return pd.DataFrame(rows, columns=["model_1", "model_2", "search", "letter", "heads", "spearman"])
