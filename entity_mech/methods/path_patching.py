"""The chain of path-patching searches (method, section 4; paper, section 4)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from entity_mech.engine.memory import path_patching_batch
from entity_mech.engine.partial import NOTHING, Arrays, Partial
from entity_mech.engine.path_patching import clean_answer, patched_answers
from entity_mech.engine.receivers import Receivers
from entity_mech.errors import UserError
from entity_mech.methods.candidates import KNEE, KNEE_MOST
from entity_mech.methods.head_scores import Effects, score_table
from entity_mech.methods.refined_search import RefinedOptions, refined_effects
from entity_mech.methods.scored_prompts import HeadOutputs, ScoredPrompts
from entity_mech.methods.searches import PathPatchingOptions, PathSearch
from entity_mech.models.decoder import Decoder
from entity_mech.progress import log, track
from entity_mech.task.tokens import TokenizedPrompts


def search_effects(
    scored: ScoredPrompts,
    search: PathSearch,
    receivers: Receivers | None,
    kinds: tuple[str, ...] = ("corrupted",),
    layers: list[int] | None = None,
    partial: Partial = NOTHING,
) -> dict[str, Effects]:
    """Effects of every head at the search's token for each kind of source.

    layers: senders' layers (ascending) when not all heads are asked for. partial: batches that an earlier, killed
    job did; those done here are put there.
    """
    done: list[Arrays] = []
    parts = scored.parts()
    for part in track(parts, len(parts), f"{search.name}: prompt batches of {scored.batch_size}"):
        name, rows = f"{search.name} {part.start}", scored.rows[part]
        found = partial.get(name)
        if found is None or not np.array_equal(found["rows"], rows):
            found = {"rows": rows, **_batch_effects(scored, part, search, receivers, kinds, layers)}
            partial.put(name, found)
        done.append(found)
    return {
        kind: Effects(*(np.concatenate([one[f"{kind} {side}"] for one in done], 1) for side in ("relative", "logit")))
        for kind in kinds
    }


def _batch_effects(
    scored: ScoredPrompts,
    part: slice,
    search: PathSearch,
    receivers: Receivers | None,
    kinds: tuple[str, ...],
    layers: list[int] | None,
) -> Arrays:
    """One batch of a search: "corrupted relative" and the like, each [sender, prompt]."""
    decoder, batch = scored.decoder, scored.batch(part, search.token)
    p_clean, logit_clean = clean_answer(decoder, batch)
    found: Arrays = {}
    for kind in kinds:
        z = scored.sources(kind, search.token, part)
        p, logit = patched_answers(decoder, batch, z, receivers, scored.max_rows, layers)
        found[f"{kind} relative"] = ((p - p_clean) / p_clean).cpu().numpy().astype(np.float64)
        found[f"{kind} logit"] = (logit - logit_clean).cpu().numpy().astype(np.float64)
    return found


def receivers_of(search: PathSearch, done: dict[str, pd.DataFrame], group: int) -> Receivers | None:
    """The inputs a search patches into, from the raw maps of earlier searches; None for the logits."""
    if not search.receivers:
        return None
    heads = []
    for name, kind in search.receivers:
        if name not in done:
            raise UserError(f"searches: {search.name!r} has {name!r} as receiver, which is not an earlier search")
        chosen = done[name][done[name]["receiver"]]
        if kind == "q" and len(chosen) and chosen["token"].iloc[0] != search.token:
            raise UserError(f"searches: {search.name!r} patches q of {name!r} but sits at another token")
        heads += [(kind, int(la), int(h)) for la, h in zip(chosen["layer"], chosen["head"], strict=True)]
    return Receivers.of_heads(heads, group)


def _refined(scored: ScoredPrompts, search: PathSearch, receivers: Receivers, options: RefinedOptions) -> Arrays:
    """The fields of a refined search's effects; says how far first-order scores were off where both are known."""
    k = max(search.receiver_heads, KNEE_MOST if search.keep == KNEE else int(search.keep))
    found = refined_effects(scored, search.token, receivers, k, options)
    senders = {"run exactly": np.flatnonzero(found.exact[: receivers.last * scored.decoder.shape.n_heads])}
    senders["random sample"] = found.sample
    for name, which in senders.items():
        error = np.abs(found.errors(which))
        log(
            f"{search.name}: first-order error on {len(which)} {name}: mean {error.mean():.2g}, max {error.max():.2g}"
        )
    return {"relative": found.relative, "logit": found.logit, "exact": found.exact}


def batch_size_of(decoder: Decoder, prompts: TokenizedPrompts, options: PathPatchingOptions, partial: Partial) -> int:
    """Prompts at a time: as configured, as a killed job began, or from free memory."""
    batch = min(options.batch_size or path_patching_batch(decoder, prompts.ids.shape[1]), len(prompts))
    if (before := partial.get("batch")) is not None and options.batch_size is None:
        batch = int(before["size"].item())
    partial.put("batch", {"size": np.array([batch])})
    return batch


def prompts_to_score(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    outputs: HeadOutputs,
    rows: np.ndarray,
    options: PathPatchingOptions,
    partial: Partial = NOTHING,
) -> ScoredPrompts:
    """The prompts that searches score, in batches that fit the machine.

    rows: those that count. Raises UserError when there is none.
    """
    if not len(rows):
        raise UserError(f"{decoder.name}: it answers no discovery prompt correctly; use path_patching.prompts: all")
    batch = batch_size_of(decoder, prompts, options, partial)
    log(f"{decoder.name}: {len(rows)} prompts, {batch} at a time")
    return ScoredPrompts(decoder, prompts, outputs, rows, batch, options.max_rows)


def run_chain(
    scored: ScoredPrompts,
    searches: Sequence[PathSearch],
    options: PathPatchingOptions,
    earlier: Mapping[str, pd.DataFrame] | None = None,
    layers: Sequence[int] | None = None,
    partial: Partial = NOTHING,
) -> dict[str, dict[str, Effects]]:
    """Effects [sender, prompt] of heads in each search, by kind of source.

    earlier: score tables of searches that were run before. layers: senders' layers (ascending) when not all heads are
    asked for; such a shard runs one search, because a later one needs all scores of it. partial: what a killed job
    did, and its batch size. Raises UserError when a search patches into something that does not come earlier.
    """
    shape = scored.decoder.shape
    done, found = dict(earlier or {}), {}
    for search in searches:
        receivers = receivers_of(search, done, shape.group)
        if options.refined is not None and receivers is not None and any(receivers.layers):
            kept = partial.get(f"{search.name} refined")
            if kept is None:
                kept = _refined(scored, search, receivers, options.refined)
                partial.put(f"{search.name} refined", kept)
            effects = {"corrupted": Effects(kept["relative"], kept["logit"], kept["exact"])}
        else:
            senders = None if layers is None else list(layers)
            effects = search_effects(scored, search, receivers, options.kinds, senders, partial)
        found[search.name] = effects
        if layers is None:
            done[search.name] = score_table(search, effects, shape.n_heads)
    return found


def chain_table(
    searches: Sequence[PathSearch], effects: Mapping[str, dict[str, Effects]], n_heads: int
) -> pd.DataFrame:
    """Score tables of a chain's searches below each other: a row for each search and head."""
    tables = [score_table(search, effects[search.name], n_heads) for search in searches]
    return pd.concat(tables, ignore_index=True)
