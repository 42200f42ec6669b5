"""Choosing a circuit's candidates from path-patching scores (method, section 5; paper, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from entity_mech.methods.circuits import Circuit, HeadGroup

if TYPE_CHECKING:
    from pandas import DataFrame

KNEE = "knee"
KNEE_SHARE = 0.95
KNEE_MOST = 64


def ranked(scores: DataFrame) -> list[tuple[int, int, float]]:
    """Heads of one search whose score is negative, strongest first, as (layer, head, score)."""
    negative = scores[scores["score"] < 0].sort_values(["score", "layer", "head"])
    columns = (negative["layer"], negative["head"], negative["score"])
    return [(int(layer), int(head), float(score)) for layer, head, score in zip(*columns, strict=True)]


def choose_circuit(model: str, scores: DataFrame, keep: Mapping[str, int]) -> Circuit:
    """The unpruned circuit: of every search the `keep` heads with the most negative scores.

    A head that is found twice at one role belongs to the later search; the earlier one is not filled up.

    Args:
        scores: a row a (search, head): columns search, letter, token, layer, head, score; searches in order.
        keep: number of heads by search.
    """
    groups: list[HeadGroup] = []
    for name, table in scores.groupby("search", sort=False):
        chosen = ranked(table)[: keep[str(name)]]
        first = table.iloc[0]
        group = HeadGroup(
            name=str(name),
            letter=str(first["letter"]),
            token=str(first["token"]),
            heads=tuple((layer, head) for layer, head, _ in chosen),
            scores=tuple(score for *_, score in chosen),
        )
        taken = set(group.heads)
        groups = [g.only(set(g.heads) - taken) if g.role == group.role else g for g in groups] + [group]
    return Circuit(model, tuple(replace(g, candidates=g.scored()) for g in groups))


def resolve_knee(
    model: str,
    scores: DataFrame,
    keep: Mapping[str, int | str],
    accuracy: Callable[[list[Circuit]], np.ndarray] | None = None,
) -> dict[str, int]:
    """Numbers of heads to keep, with `knee` resolved.

    All searches that say `knee` get the same k: the smallest whose circuit reaches 95% of the accuracy at the
    largest k (as many as there are negative scores, at most 64). accuracy: of circuits, on the pruning split;
    needed where a search says `knee`.
    """
    negative = {str(name): len(ranked(table)) for name, table in scores.groupby("search", sort=False)}
    most = min(KNEE_MOST, max((negative[name] for name, k in keep.items() if k == KNEE), default=0))

    def counts(k: int) -> dict[str, int]:
        return {name: k if n == KNEE else int(n) for name, n in keep.items()}

    if not most:
        return counts(0)
    if accuracy is None:
        raise ValueError("keep: knee needs the accuracy of circuits")
    reached = accuracy([choose_circuit(model, scores, counts(k)) for k in range(1, most + 1)])
    return counts(1 + knee(reached))


def knee(accuracy: np.ndarray, share: float = KNEE_SHARE) -> int:
    """Index of the first of a row of nested circuits that reaches `share` of the last one's accuracy."""
    return int(np.argmax(accuracy >= share * accuracy[-1]))
