"""Tables of path-patching scores that are given instead of being searched for, read and checked."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path

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

NEEDED = ("search", "layer", "head", "score")
Rows = Sequence[Mapping[str, str]]


def read_score_rows(path: str | Path) -> list[dict[str, str]]:
    """Rows of a table of scores, as text; a column `group` counts as `search`.

    Raises UserError when it is no table with the columns `search`, `layer`, `head` and `score`, or has no rows.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or [])
            if "search" not in names:
                names = ["search" if name == "group" else name for name in names]
            reader.fieldnames = names
            rows = [{name: row[name] or "" for name in names} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"it cannot be read as a table: {error}") from None
    missing = [name for name in NEEDED if name not in names]
    if missing:
        has = f"its columns are {', '.join(names)}" if names else "it is empty"
        raise UserError(f"a table of scores needs the columns {', '.join(NEEDED)}, and {has}")
    if not rows:
        raise UserError("it has no rows")
    return rows


def score_problems(rows: Rows, chain: Sequence[ChainGroup], size: Size | None) -> list[str]:
    """What is wrong with a table of scores, for this chain and a model of this size (None: not known yet).

    Every head needs one finite score in every search, and nothing else may be there.
    """
    wrong = [f"line {line}: {text}" for line, text in enumerate(map(_wrong_number, rows), 2) if text]
    if wrong:
        return in_one(wrong)
    heads = [GivenHead(row["search"], int(row["layer"]), int(row["head"])) for row in rows]
    found = other_searches(dict.fromkeys(one.group for one in heads), chain)
    if not found:
        said = dict.fromkeys(ChainGroup(row["search"], row.get("letter", ""), row.get("token", "")) for row in rows)
        found = other_places(said, chain)
    return found or repeated(heads) + (outside(heads, size) or _unscored(heads, size))


def _wrong_number(row: Mapping[str, str]) -> str:
    for name in ("layer", "head"):
        if not row[name].isdecimal():
            return f"{name} {row[name]!r} is not a whole number from 0 on"
    try:
        finite = isfinite(float(row["score"]))
    except ValueError:
        finite = False
    return "" if finite else f"score {row['score']!r} is not a number"


def _unscored(heads: Sequence[GivenHead], size: Size | None) -> list[str]:
    """Heads without a score, of those that the model has or, where its size is not known, the whole table."""
    layers, width = size or (1 + max(one.layer for one in heads), 1 + max(one.head for one in heads))
    there = {one.place for one in heads}
    wanted = (
        GivenHead(name, layer, head)
        for name in dict.fromkeys(one.group for one in heads)
        for layer in range(layers)
        for head in range(width)
    )
    return in_one([f"head {one.words} has no score" for one in wanted if one.place not in there])
