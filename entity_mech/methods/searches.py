"""What a chain of path-patching searches is: its searches, and how they are run (method, section 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entity_mech.engine.path_patching import MAX_ROWS
from entity_mech.methods.refined_search import RefinedOptions
from entity_mech.task.seeds import seed_for


@dataclass(frozen=True)
class PathSearch:
    """One search: a sender token and what is patched. No receivers means the logits."""

    name: str
    letter: str
    token: str
    receivers: tuple[tuple[str, str], ...]  # (earlier search, input q|k|v)
    receiver_heads: int
    keep: int | str  # number of candidates, or "knee"


@dataclass(frozen=True)
class PathPatchingOptions:
    """null: also run the null sources.

    refined: run only chosen senders exactly in searches that patch into heads (no null there).
    """

    null: bool = True
    batch_size: int | None = None
    max_rows: int = MAX_ROWS
    refined: RefinedOptions | None = None


def searches_from(entries: Sequence[Mapping[str, Any]]) -> list[PathSearch]:
    """Searches from the config's entries. Without `keep` (candidates are chosen later) none is a candidate."""
    return [
        PathSearch(
            name=entry["name"],
            letter=entry["letter"],
            token=entry["token"],
            receivers=tuple((one["search"], one["input"]) for one in entry["receivers"] if one != "logits"),
            receiver_heads=entry["receiver_heads"],
            keep=entry.get("keep", 0),
        )
        for entry in entries
    ]


def options_from(options: Mapping[str, Any], machine: Mapping[str, Any]) -> PathPatchingOptions:
    """Options from the config's `path_patching` (with the run's seed) and from what the machine can hold."""
    refined = options["mode"] == "refined"
    return PathPatchingOptions(
        null=options["null_map"],
        batch_size=machine["batch_size"],
        max_rows=machine["rows"],
        refined=RefinedOptions(seed=seed_for(options["seed"], "refined")) if refined else None,
    )
