"""What the searches of a chain measured: effects of heads prompt by prompt, on disk, and score tables from them.

A file holds the effects of the heads of some layers in one search (method, section 4). One job may run all layers of
all searches, or a shard of one search: every n-th layer, because senders of low layers run through more of the model
than those of high ones. A sender's effect does not depend on who runs beside it, so any cut gives the same scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from entity_mech.engine.store import create_store, open_store
from entity_mech.errors import UserError
from entity_mech.methods.searches import PathSearch

SIDES = ("relative", "logit")


@dataclass
class Effects:
    """Per sender and prompt: relative change of the answer's probability, and change of its logit."""

    relative: np.ndarray  # [sender, prompt]
    logit: np.ndarray
    exact: np.ndarray | None = None  # bool [sender]; None: all were run exactly


def shard_layers(n_layers: int, shard: int, shards: int) -> list[int]:
    """Layers of a shard, ascending; none where there are more shards than layers."""
    return list(range(shard, n_layers, shards))


def write_effects(
    path: str | Path,
    stamp: Mapping[str, str],
    layers: Sequence[int],
    rows: np.ndarray,
    effects: Mapping[str, Effects],
) -> None:
    """Write effects of the heads of some layers (ascending) with what they were made from.

    rows: the scored prompts. effects: kind of source (`corrupted`, `null`) -> effects [sender, prompt].
    """
    with create_store(path, stamp) as file:
        file.create_dataset("layers", data=np.array(layers, dtype=np.int64), track_times=False)
        file.create_dataset("rows", data=rows, track_times=False)
        for kind, found in effects.items():
            for side in (*SIDES, "exact"):
                array = getattr(found, side)
                if array is not None:
                    file.create_dataset(f"{kind}/{side}", data=array, track_times=False)


def join_effects(
    files: Sequence[str | Path], expected: Mapping[str, str], n_layers: int, n_heads: int
) -> dict[str, Effects]:
    """Effects of all heads, [sender, prompt], sender = layer * n_heads + head.

    Raises UserError when a file was not made from what `expected` says or otherwise than the first, when it scores
    other prompts, or when a layer stands in none or in two of them.
    """
    found: dict[str, list[np.ndarray]] = {}
    layers: list[int] = []
    rows: np.ndarray | None = None
    for path in files:
        with open_store(path, expected) as file:
            expected = dict(file.attrs)
            own = np.asarray(file["rows"][()])
            rows = own if rows is None else rows
            if not np.array_equal(own, rows):
                raise UserError(f"{path}: its prompts are not those of {files[0]}. Delete both and run again.")
            here = file["layers"][()].tolist()
            layers += here
            for kind in (name for name, item in file.items() if hasattr(item, "keys")):
                for side, data in file[kind].items():
                    shape = (len(here), n_heads, *data.shape[1:])
                    found.setdefault(f"{kind} {side}", []).append(data[()].reshape(shape))
    if sorted(layers) != list(range(n_layers)):
        raise UserError(f"{files[0]} and the shards beside it hold layers {sorted(layers)} of {n_layers}")
    order = np.argsort(layers)
    whole = {name: np.concatenate(parts)[order] for name, parts in found.items()}
    flat = {name: array.reshape(n_layers * n_heads, *array.shape[2:]) for name, array in whole.items()}
    kinds = dict.fromkeys(name.split()[0] for name in flat)
    return {
        kind: Effects(flat[f"{kind} relative"], flat[f"{kind} logit"], flat.get(f"{kind} exact")) for kind in kinds
    }


def score_table(search: PathSearch, effects: dict[str, Effects], n_heads: int) -> pd.DataFrame:
    """One row a head: mean, median, share of prompts with a drop, mean logit change, the null's mean, and n.

    `exact` is false only in refined mode, for heads whose numbers are first-order. n: prompts that were scored.
    """
    main = effects["corrupted"]
    sender = np.arange(len(main.relative))
    null = effects["null"].relative.mean(1) if "null" in effects else np.full(len(sender), np.nan)
    table = pd.DataFrame(
        {
            "search": search.name,
            "letter": search.letter,
            "token": search.token,
            "layer": sender // n_heads,
            "head": sender % n_heads,
            "score": main.relative.mean(1),
            "median": np.median(main.relative, 1),
            "share_down": (main.relative < 0).mean(1),
            "logit_change": main.logit.mean(1),
            "null_score": null,
            "exact": True if main.exact is None else main.exact,
        }
    )
    ranked = ranking(table)
    table["receiver"] = table.index.isin(ranked[: search.receiver_heads])
    kept = len(ranked) if search.keep == "knee" else int(search.keep)
    table["candidate"] = table.index.isin(ranked[:kept])
    table["n"] = main.relative.shape[1]
    return table


def ranking(table: pd.DataFrame) -> list[int]:
    """Row labels of one search's heads, most negative score first; a head not below 0 is never chosen."""
    below = table[table["score"] < 0]
    return below.sort_values(["score", "layer", "head"]).index.tolist()


def scored_rows(path: str | Path) -> np.ndarray:
    """Places of the prompts that a file of effects is about, int [prompt]."""
    with open_store(path, {}) as file:
        return np.asarray(file["rows"][()])


def joined_table(
    search: PathSearch, files: Sequence[str | Path], expected: Mapping[str, str], n_layers: int, n_heads: int
) -> pd.DataFrame:
    """The score table of a whole search from its files. Raises as `join_effects` does."""
    return score_table(search, join_effects(files, expected, n_layers, n_heads), n_heads)
