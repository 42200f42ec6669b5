"""How alike two models' circuits and score maps are (method, section 6; paper, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

from entity_mech.methods.circuits import Circuit, HeadIndex
from entity_mech.methods.part_names import WHOLE

OVERLAP_COLUMNS = [
    "circuit_1", "circuit_2", "group", "letter", "heads_1", "heads_2", "shared", "precision", "recall", "jaccard",
    "chance_shared", "chance_precision", "chance_recall", "chance_jaccard", "p_chance",
]  # fmt: skip

Heads = set[HeadIndex]


def shared_by_chance(pools: tuple[Heads, Heads], first: int, second: int) -> np.ndarray:
    """Probability of sharing 0, 1, ... heads when each set is drawn at random from a pool of its own.

    Of the first set so many heads lie in the second's pool (hypergeometric); of these the second draws so many
    (hypergeometric again). Over one pool this is the hypergeometric distribution itself.
    """
    reachable = _drawn(len(pools[0]), len(pools[0] & pools[1]), first)
    chance = np.zeros(min(first, second) + 1)
    for within, probability in enumerate(reachable):
        shared = _drawn(len(pools[1]), within, second)
        chance[: len(shared)] += probability * shared
    return chance


def _drawn(total: int, marked: int, draws: int) -> np.ndarray:
    """Probability of 0, 1, ... marked ones among `draws` of `total` without replacement."""
    ways = [comb(marked, hits) * comb(total - marked, draws - hits) for hits in range(min(marked, draws) + 1)]
    return np.array([way / comb(total, draws) for way in ways])


def choosable(scores: pd.DataFrame, circuit: Circuit) -> dict[str, Heads]:
    """Heads that could have been chosen for each group of a circuit: those with a negative score.

    Heads at or above the receivers score exactly 0. The circuit's own heads are always among them.
    """
    found: dict[str, Heads] = {group.name: set(group.heads) for group in circuit.groups}
    below = scores[scores["score"] < 0]
    for search, layer, head in zip(below["search"], below["layer"], below["head"], strict=True):
        found.setdefault(str(search), set()).add((int(layer), int(head)))
    return found


def overlap(
    circuits: Sequence[Circuit], sizes: Mapping[str, tuple[int, int]], scores: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Every pair of circuits, group by group and as a whole.

    Args:
        circuits: in the order of the config; of each pair the first is the reference.
        sizes: (layers, heads) by model; pairs of models of different sizes are left out.
        scores: path-patching tables by model. Without both of a pair's, which heads could have been chosen is not
            known, nor what chance would give: NaN.

    Columns: circuit_1, circuit_2, group (or whole_circuit), letter, heads_1, heads_2, shared, precision (shared
    over the second's), recall (over the first's), jaccard, the same for random sets of these sizes out of the heads
    that could be chosen in each model (for precision, recall and jaccard their expectation), p_chance (probability
    that random sets share as many or more). Shares of an empty group are undefined. In the whole a head counts once
    a token role.
    """
    rows: list[tuple[object, ...]] = []
    for first, second in combinations(circuits, 2):
        if sizes[first.model] == sizes[second.model]:
            pools = [choosable(scores[one.model], one) for one in (first, second) if one.model in scores]
            rows += compare(first, second, (pools[0], pools[1]) if len(pools) == 2 else None)
    return pd.DataFrame(rows, columns=OVERLAP_COLUMNS)


Pools = Mapping[str, Heads]


def compare(first: Circuit, second: Circuit, pools: tuple[Pools, Pools] | None) -> list[tuple[object, ...]]:
    """Rows of `overlap` for one pair. pools: heads of each circuit that could be chosen; None: not known."""
    rows: list[tuple[object, ...]] = []
    others = {group.name: group for group in second.groups}
    for group in first.groups:
        heads = set(group.heads)
        other = set(others[group.name].heads) if group.name in others else set()
        chance = None
        if pools is not None:
            here = (pools[0].get(group.name, set()), pools[1].get(group.name, set()))
            chance = shared_by_chance(here, len(heads), len(other))
        about = (first.model, second.model, group.name, group.letter)
        rows.append((*about, *_measures(len(heads), len(other), len(heads & other), chance)))
    ours, theirs = _by_role(first), _by_role(second)
    chance = None if pools is None else _shared_by_chance_in_all((first, second), pools)
    shared = sum(len(heads & theirs.get(role, set())) for role, heads in ours.items())
    n_ours, n_theirs = (sum(map(len, heads.values())) for heads in (ours, theirs))
    rows.append((first.model, second.model, WHOLE, "", *_measures(n_ours, n_theirs, shared, chance)))
    return rows


def _shared_by_chance_in_all(circuits: tuple[Circuit, Circuit], pools: tuple[Pools, Pools]) -> np.ndarray:
    """As `shared_by_chance` for whole circuits, whose heads are drawn at each role by itself."""
    (ours, theirs), chance = (_by_role(one) for one in circuits), np.ones(1)
    every = [_by_role(one, pool) for one, pool in zip(circuits, pools, strict=True)]
    for role in {**ours, **theirs}:
        at_role = (every[0].get(role, set()), every[1].get(role, set()))
        drawn = shared_by_chance(at_role, len(ours.get(role, ())), len(theirs.get(role, ())))
        chance = np.convolve(chance, drawn)
    return chance


def _by_role(circuit: Circuit, heads: Mapping[str, Heads] | None = None) -> dict[str, Heads]:
    """Heads at each role: the circuit's, or those given for its groups."""
    found: dict[str, Heads] = {role: set() for role in circuit.roles}
    for group in circuit.groups:
        found[group.role] |= set(group.heads) if heads is None else heads.get(group.name, set())
    return found


def _measures(first: int, second: int, shared: int, chance: np.ndarray | None) -> tuple[int | float, ...]:
    """The numbers of a row. chance: probability of sharing 0, 1, ... heads; None: not known."""
    with np.errstate(invalid="ignore", divide="ignore"):
        own = [np.divide(shared, n) for n in (second, first, first + second - shared)]
        if chance is None:
            return first, second, shared, *map(float, own), *[float("nan")] * 5
        counts = np.arange(len(chance))
        precision, recall, jaccard = (np.divide(counts, n) for n in (second, first, first + second - counts))
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
