"""One search cut by layers of senders, so that several jobs share it, and its parts put together again.

A shard takes every n-th layer: senders of low layers run through more of the model than those of high ones, so
this gives all shards about the same work. A sender's effect does not depend on who runs beside it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from entity_mech.engine.partial import NOTHING, Partial
from entity_mech.engine.store import CHECKED, create_store, open_store
from entity_mech.errors import UserError
from entity_mech.methods.path_patching import (
    Effects,
    batch_size_of,
    check_some,
    receivers_of,
    score_table,
    search_effects,
)
from entity_mech.methods.refined_search import HeadOutputs
from entity_mech.methods.searches import PathPatchingOptions, Search
from entity_mech.models.decoder import Decoder
from entity_mech.progress import log
from entity_mech.task.tokens import TokenizedPrompts

SIDES = ("relative", "logit")


def shard_layers(n_layers: int, shard: int, shards: int) -> list[int]:
    """Layers of a shard, ascending; none where there are more shards than layers."""
    return list(range(shard, n_layers, shards))


def run_shard(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    outputs: HeadOutputs,
    search: Search,
    earlier: Mapping[str, pd.DataFrame],
    rows: np.ndarray,
    layers: list[int],
    options: PathPatchingOptions,
    partial: Partial = NOTHING,
) -> dict[str, Effects]:
    """Effects [sender, prompt] of the heads of some layers in one search; null sources as `options` say.

    earlier: score tables (`join_table`) of the searches that this one patches into. rows: the scored
    prompts, the same for every shard. Raises UserError as `run_chain` does.
    """
    check_some(decoder.name, rows)
    batch = batch_size_of(decoder, prompts, options, partial)
    receivers = receivers_of(search, dict(earlier), decoder.shape.group)
    log(f"{decoder.name}: {len(rows)} prompts, {batch} at a time, {len(layers)} of {decoder.shape.n_layers} layers")
    kinds = ("corrupted", "null") if options.null else ("corrupted",)
    return search_effects(
        decoder, prompts, outputs, search, receivers, kinds, batch, options.max_rows, rows, None, partial, layers
    )


def write_shard(
    path: str | Path, stamp: Mapping[str, str], layers: list[int], rows: np.ndarray, effects: dict[str, Effects]
) -> None:
    """Write a shard's effects with what they were made from."""
    with create_store(path, stamp) as file:
        file.create_dataset("layers", data=np.array(layers, dtype=np.int64), track_times=False)
        file.create_dataset("rows", data=rows, track_times=False, fletcher32=True, chunks=rows.shape)
        for kind, found in effects.items():
            for side in SIDES:
                array = getattr(found, side)
                checked = {**CHECKED, "chunks": array.shape} if array.size else {"track_times": False}
                file.create_dataset(f"{kind}/{side}", data=array, **checked)


def join_shards(
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
            layers += file["layers"][()].tolist()
            for kind in (name for name, item in file.items() if hasattr(item, "keys")):
                for side in SIDES:
                    found.setdefault(f"{kind} {side}", []).append(file[kind][side][()].reshape(-1, n_heads, len(own)))
    if sorted(layers) != list(range(n_layers)):
        raise UserError(f"{files[0]} and the shards beside it hold layers {sorted(layers)} of {n_layers}")
    order = np.argsort(layers)
    whole = {name: np.concatenate(parts)[order].reshape(n_layers * n_heads, -1) for name, parts in found.items()}
    kinds = dict.fromkeys(name.split()[0] for name in whole)
    return {kind: Effects(whole[f"{kind} relative"], whole[f"{kind} logit"]) for kind in kinds}


def scored_rows(path: str | Path, expected: Mapping[str, str]) -> np.ndarray:
    """The prompts that a shard scores, the same ones in all shards of a model."""
    with open_store(path, expected) as file:
        return np.asarray(file["rows"][()])


def join_table(
    search: Search, files: Sequence[str | Path], expected: Mapping[str, str], n_layers: int, n_heads: int
) -> pd.DataFrame:
    """The score table of a whole search, as `run_chain` makes it, from its shards. Raises as `join_shards` does."""
    return score_table(search, join_shards(files, expected, n_layers, n_heads), n_heads)
