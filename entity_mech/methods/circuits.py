"""Circuits: groups of heads, each at one token role, and their files (method, section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np

from entity_mech.errors import UserError
from entity_mech.files import read_checked_json, write_checked_json
from entity_mech.task.roles import own_name

HeadIndex = tuple[int, int]  # (layer, head)


@dataclass(frozen=True)
class HeadGroup:
    """Heads that one search found, at one token role, strongest first.

    scores: path-patching score of each head (more negative is stronger; NaN: not known), or empty. candidates: the
    heads that the group had before pruning, with their scores.
    """

    name: str
    letter: str
    token: str
    heads: tuple[HeadIndex, ...]
    scores: tuple[float, ...] = ()
    candidates: tuple[tuple[int, int, float], ...] = ()

    def __post_init__(self) -> None:
        if self.scores and len(self.scores) != len(self.heads):
            raise ValueError(f"{self.name}: {len(self.heads)} heads but {len(self.scores)} scores")
        if len(set(self.heads)) != len(self.heads):
            raise UserError(f"group {self.name}: a head stands in it twice")

    @property
    def role(self) -> str:
        """The token role under its own name."""
        return own_name(self.token)

    def score(self, head: HeadIndex) -> float:
        """A head's score; 0 when the group has none."""
        return self.scores[self.heads.index(head)] if self.scores else 0.0

    def scored(self) -> tuple[tuple[int, int, float], ...]:
        """The heads as (layer, head, score)."""
        return tuple((layer, head, self.score((layer, head))) for layer, head in self.heads)

    def only(self, heads: Iterable[HeadIndex]) -> HeadGroup:
        """The group with some of its heads, in the same order."""
        wanted = set(heads)
        kept = [i for i, head in enumerate(self.heads) if head in wanted]
        return replace(
            self,
            heads=tuple(self.heads[i] for i in kept),
            scores=tuple(self.scores[i] for i in kept) if self.scores else (),
        )


@dataclass(frozen=True)
class Circuit:
    """Groups of heads found in one model."""

    model: str
    groups: tuple[HeadGroup, ...]

    @property
    def size(self) -> int:
        """Number of heads, a head at two roles counted twice."""
        return sum(len(group.heads) for group in self.groups)

    @property
    def roles(self) -> tuple[str, ...]:
        """Distinct token roles of the groups, empty groups included, in the groups' order."""
        return tuple(dict.fromkeys(group.role for group in self.groups))

    @property
    def unpruned(self) -> Circuit:
        """The circuit of all candidates."""

        def all_of(group: HeadGroup) -> HeadGroup:
            heads = tuple((layer, head) for layer, head, _ in group.candidates)
            return replace(group, heads=heads, scores=tuple(score for *_, score in group.candidates))

        return Circuit(self.model, tuple(map(all_of, self.groups)))

    def group(self, name: str) -> HeadGroup:
        """A group by name. Raises UserError when there is none."""
        for group in self.groups:
            if group.name == name:
                return group
        raise UserError(f"the circuit of {self.model} has no group {name!r}")

    def to_mask(self, roles: Sequence[str], n_layers: int, n_heads: int) -> np.ndarray:
        """Kept heads as bool [role, layer, head]. Raises UserError for a role or a head that is not there."""
        mask = np.zeros((len(roles), n_layers, n_heads), dtype=bool)
        for group in self.groups:
            if group.role not in roles:
                raise UserError(f"group {group.name} sits at {group.token!r}, not among {list(roles)}")
            for layer, head in group.heads:
                if not (0 <= layer < n_layers and 0 <= head < n_heads):
                    raise UserError(
                        f"group {group.name} of {self.model}'s circuit has head {layer}.{head}; the model "
                        f"has {n_layers} layers of {n_heads} heads"
                    )
                mask[roles.index(group.role), layer, head] = True
        return mask


def mask_of(
    sets: Sequence[Iterable[tuple[str, int, int]]], roles: Sequence[str], n_layers: int, n_heads: int
) -> np.ndarray:
    """Sets of heads (role, layer, head) as bool [set, role, layer, head]."""
    masks = np.zeros((len(sets), len(roles), n_layers, n_heads), dtype=bool)
    for mask, heads in zip(masks, sets, strict=True):
        for role, layer, head in heads:
            mask[roles.index(role), layer, head] = True
    return masks


def circuit_to_json(circuit: Circuit) -> dict[str, Any]:
    """A circuit as plain data; `rank` counts from 1 among the group's candidates. None: a score that is not known."""

    def group_to_json(group: HeadGroup) -> dict[str, Any]:
        candidates = group.candidates or group.scored()
        rank = {(layer, head): i for i, (layer, head, _) in enumerate(candidates, 1)}
        heads = [
            {"layer": layer, "head": head, "score": _or_none(score), "rank": rank.get((layer, head))}
            for layer, head, score in group.scored()
        ]
        before = [{"layer": layer, "head": head, "score": _or_none(score)} for layer, head, score in candidates]
        return {
            "name": group.name,
            "letter": group.letter,
            "token": group.token,
            "heads": heads,
            "candidates": before,
        }

    return {"model": circuit.model, "groups": [group_to_json(group) for group in circuit.groups]}


def _or_none(score: float) -> float | None:
    return None if isnan(score) else score


def _or_nan(score: float | None) -> float:
    return nan if score is None else score


def circuit_from_json(data: Mapping[str, Any]) -> Circuit:
    """The circuit in a circuit file's data."""
    return Circuit(
        data["model"],
        tuple(
            HeadGroup(
                name=g["name"],
                letter=g["letter"],
                token=g["token"],
                heads=tuple((h["layer"], h["head"]) for h in g["heads"]),
                scores=tuple(_or_nan(h.get("score", 0.0)) for h in g["heads"]),
                candidates=tuple((h["layer"], h["head"], _or_nan(h["score"])) for h in g.get("candidates", ())),
            )
            for g in data["groups"]
        ),
    )


def write_circuit(path: str | Path, circuit: Circuit, **more: Any) -> None:
    """Write a circuit file: `model`, `groups`, and whatever else is given (threshold, provenance, ...)."""
    write_checked_json(path, {**circuit_to_json(circuit), **more})


def read_circuit(path: str | Path) -> Circuit:
    """Read a circuit file of `write_circuit`. Raises UserError when it is none, or is not what was written there.

    A circuit that a person wrote is data for `circuit_from_json`, and carries no digest.
    """
    try:
        return circuit_from_json(read_checked_json(path))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is not a circuit file: {error!r}") from error
