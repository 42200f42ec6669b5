"""Graphics cards shared by jobs of one machine: each job takes one that no other has."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_mine: dict[str, IO[str]] = {}


def claim(cards: Sequence[str], mine: dict[str, IO[str]] = _mine) -> str:
    """The first of the cards that no other process has claimed; the first of all when all are taken.

    cards: names (UUIDs), the best first. A claim is a lock on a small file, which ends with the process however
    that ends. A process keeps the card that it has.
    """
    for name in cards:
        if name in mine:
            return name
    for name in cards:
        file = _lock(name)
        if file is not None:
            mine[name] = file
            return name
    return cards[0]


def _lock(name: str) -> IO[str] | None:
    path = Path(tempfile.gettempdir()) / f"entity-mech-{os.getuid()}-{name}.lock"
    try:
        file = path.open("a")
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
