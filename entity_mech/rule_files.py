"""The workflow's rules by the kind of machine that they want, for the cluster's profile."""

from __future__ import annotations

import re
from pathlib import Path

RULES = Path(__file__).resolve().parent.parent / "workflow" / "rules"
DATASET = ("choose_", "make_")  # how their names begin
BETWEEN = "join_"  # small jobs between two that run a model: in a group with others they would wait for themselves


def rules_by_kind(folder: Path = RULES) -> dict[str, list[str]]:
    """Names of the rules that submit jobs: `model` (they run a model), `dataset`, and `figures` (tables, too).

    Rules that put shards together are in none: each of their jobs is submitted alone.

    Read from the rule files: a rule that runs a model has `gpu=gpu`, and one of a few lines' work has `gpu=0`.
    """
    found: dict[str, list[str]] = {"model": [], "dataset": [], "figures": []}
    for file in sorted(folder.glob("*.smk")):
        for name, body in _blocks(file.read_text(encoding="utf-8")):
            if "script:" not in body or "localrule: True" in body or name.startswith(BETWEEN):
                continue
            small = "dataset" if name.startswith(DATASET) else "figures"
            found["model" if "gpu=gpu," in body else small].append(name)
    return found


def _blocks(text: str) -> list[tuple[str, str]]:
    """Names and bodies of a file's rules; a body ends with the first line that is not indented."""
    return re.findall(r"^rule (\w+):\n((?:[ \t].*\n|\n)*)", text, flags=re.MULTILINE)
