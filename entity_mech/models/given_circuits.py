"""Circuits that are given instead of being searched for and pruned, read and checked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from entity_mech.errors import UserError
from entity_mech.models.given_heads import (
    ChainGroup,
    GivenHead,
    Size,
    in_one,
    other_places,
    other_searches,
    outside,
    repeated,
)
from entity_mech.task.roles import own_name

FORM = 'it should hold {"group": [[layer, head], ...], ...}, or be a circuits/{model}.json of a run'


class GivenGroup(NamedTuple):
    """Heads of one group, and those that were its candidates, where the file has them. letter, token: or empty."""

    name: str
    letter: str
    token: str
    heads: tuple[GivenHead, ...]
    candidates: tuple[GivenHead, ...]


class GivenCircuit(NamedTuple):
    """Groups of a circuit file, and the threshold that it was pruned by, where the file says so."""

    groups: tuple[GivenGroup, ...]
    threshold: float | None


def read_given_circuit(path: str | Path) -> GivenCircuit:
    """A circuit file: `circuits/{model}.json` of a run, or lists of [layer, head] by group. Raises UserError.

    A `digest` in it is passed over: people edit circuits.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"it cannot be read as JSON: {error}") from None
    if not isinstance(data, dict):
        raise UserError(f"it is no circuit: {FORM}")
    threshold, listed = None, [(name, {"heads": heads}) for name, heads in data.items() if name != "digest"]
    if isinstance(data.get("groups"), list):
        listed = [(str(_part(group, "name")), group) for group in data["groups"]]
        threshold = _number(data.get("threshold"))
    twice = [name for name, count in Counter(name for name, _ in listed).items() if count > 1]
    if twice:
        raise UserError(f"the group {twice[0]} stands there twice")
    return GivenCircuit(tuple(_group(name, entry) for name, entry in listed), threshold)


def _part(entry: Any, name: str) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        raise UserError(f"it is no circuit: a group or head lacks its `{name}`; {FORM}")
    return entry[name]


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise UserError(f"{value!r} is not a number")
    return float(value)


def _group(name: str, entry: Mapping[str, Any]) -> GivenGroup:
    lists = [entry.get("heads"), entry.get("candidates", [])]
    if not all(isinstance(one, list) for one in lists):
        raise UserError(f"it is no circuit: the heads of {name} are no list; {FORM}")
    heads, candidates = (tuple(_head(name, one) for one in heads) for heads in lists)
    return GivenGroup(name, str(entry.get("letter", "")), str(entry.get("token", "")), heads, candidates)


def _head(group: str, entry: Any) -> GivenHead:
    if isinstance(entry, list) and len(entry) == 2:
        entry = {"layer": entry[0], "head": entry[1]}
    place = [_part(entry, "layer"), _part(entry, "head")]
    if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in place):
        raise UserError(f"head {place} of {group}: layer and head should be whole numbers from 0 on")
    return GivenHead(group, place[0], place[1], _number(entry.get("score")))


def circuit_problems(circuit: GivenCircuit, chain: Sequence[ChainGroup], size: Size | None) -> list[str]:
    """What is wrong with a circuit, for this chain and a model of this size (None: not known yet)."""
    found = other_searches([one.name for one in circuit.groups], chain)
    found = found or other_places([ChainGroup(*one[:3]) for one in circuit.groups], chain)
    if found:
        return found
    heads = [head for group in circuit.groups for head in group.heads]
    candidates = [head for group in circuit.groups for head in group.candidates]
    if not heads:
        return ["it has no heads"]
    return repeated(heads) + repeated(candidates) + outside([*heads, *candidates], size) + _shared(heads, chain)


def _shared(heads: Sequence[GivenHead], chain: Sequence[ChainGroup]) -> list[str]:
    """Heads that stand in two groups at one token, where only one of them can have it."""
    token = {one.name: own_name(one.token) for one in chain}
    groups: dict[tuple[str, int, int], list[str]] = {}
    for name, layer, head, _ in dict.fromkeys(heads):
        groups.setdefault((token[name], layer, head), []).append(name)
    return in_one(
        [
            f"head {layer}.{head} at the token {role!r} stands in {' and in '.join(dict.fromkeys(names))}"
            for (role, layer, head), names in groups.items()
            if len(set(names)) > 1
        ]
    )
