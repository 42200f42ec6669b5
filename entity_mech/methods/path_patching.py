"""The chain of path-patching searches (method, section 4; paper, section 3.1)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from entity_mech.engine.clean import CleanRun, run_clean, to_ids
from entity_mech.engine.memory import path_patching_batch
from entity_mech.engine.ops import predictions
from entity_mech.engine.partial import NOTHING, Arrays, Partial
from entity_mech.engine.path_patching import KEPT, clean_answer, patched_answers
from entity_mech.engine.receivers import Receivers
from entity_mech.errors import UserError
from entity_mech.methods.candidates import KNEE, KNEE_MOST
from entity_mech.methods.refined_search import HeadOutputs, refined_effects
from entity_mech.methods.searches import PathPatchingOptions, Search
from entity_mech.models.decoder import Decoder
from entity_mech.progress import log, track
from entity_mech.task.tokens import TokenizedPrompts


@dataclass
class Effects:
    """Per sender and prompt: relative change of the answer's probability, and change of its logit."""

    relative: np.ndarray  # [sender, prompt]
    logit: np.ndarray
    exact: np.ndarray | None = None  # bool [sender]; None: all were run exactly


def answered_rightly(decoder: Decoder, prompts: TokenizedPrompts, batch_size: int) -> np.ndarray:
    """Which prompts the model answers correctly, bool [prompt]."""
    right = []
    for rows in _batches(len(prompts), batch_size):
        part = prompts.rows(rows)
        clean = run_clean(decoder, to_ids(decoder, part.ids), keep=())
        best = predictions(decoder, clean.last(to_ids(decoder, part.length)))
        right.append(best.cpu().numpy() == part.answer)
    return np.concatenate(right)


def _batches(n: int, size: int) -> list[np.ndarray]:
    return [np.arange(first, min(n, first + size)) for first in range(0, n, size)]


class CleanRuns:
    """Clean runs of prompt batches for a chain of searches; one batch alone is run once for all of them."""

    def __init__(self, decoder: Decoder, prompts: TokenizedPrompts, single: bool) -> None:
        self.decoder, self.prompts, self.single = decoder, prompts, single
        self._kept: tuple[np.ndarray, CleanRun] | None = None

    def of(self, rows: np.ndarray) -> CleanRun:
        """The clean run of some prompts, which is kept when they are the only batch."""
        if self._kept is not None and np.array_equal(self._kept[0], rows):
            return self._kept[1]
        run = run_clean(self.decoder, to_ids(self.decoder, self.prompts.rows(rows).ids), KEPT)
        if self.single:
            self._kept = (rows, run)
        return run


def search_effects(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    outputs: HeadOutputs,
    search: Search,
    receivers: Receivers | None,
    kinds: tuple[str, ...],
    batch_size: int,
    max_rows: int,
    rows: np.ndarray | None = None,
    runs: CleanRuns | None = None,
    partial: Partial = NOTHING,
    layers: list[int] | None = None,
) -> dict[str, Effects]:
    """Effects of every head at the search's token for each kind of source, over the given prompt rows.

    partial: batches that an earlier, killed job did; those done here are put there. layers: senders' layers
    (ascending) when not all heads are asked for.
    """
    runs = runs or CleanRuns(decoder, prompts, single=False)
    chosen = np.arange(len(prompts)) if rows is None else rows
    parts: list[Arrays] = []
    batches = _batches(len(chosen), batch_size)
    for index in track(batches, len(batches), f"{search.name}: prompt batches of {batch_size}"):
        name, these = f"{search.name} {index[0]}", chosen[index]
        found = partial.get(name)
        if found is None or not np.array_equal(found["rows"], these):
            found = {
                "rows": these,
                **_batch_effects(decoder, prompts, outputs, search, receivers, kinds, these, max_rows, runs, layers),
            }
            partial.put(name, found)
        parts.append(found)
    return {
        kind: Effects(
            *(np.concatenate([part[f"{kind} {side}"] for part in parts], 1) for side in ("relative", "logit"))
        )
        for kind in kinds
    }


def _batch_effects(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    outputs: HeadOutputs,
    search: Search,
    receivers: Receivers | None,
    kinds: tuple[str, ...],
    rows: np.ndarray,
    max_rows: int,
    runs: CleanRuns,
    layers: list[int] | None,
) -> Arrays:
    """One batch of a search: "corrupted relative" and the like, each [sender, prompt]."""
    part = prompts.rows(rows)
    length, answer = to_ids(decoder, part.length), to_ids(decoder, part.answer)
    pos = to_ids(decoder, part.roles[search.token])
    clean = runs.of(rows)
    p_clean, logit_clean = clean_answer(decoder, clean, length, answer)
    found: Arrays = {}
    for kind in kinds:
        z = torch.as_tensor(outputs(kind, search.token, rows), device=decoder.device)
        p, logit = patched_answers(decoder, clean, length, answer, pos, z, receivers, max_rows, layers)
        found[f"{kind} relative"] = ((p - p_clean) / p_clean).cpu().numpy().astype(np.float64)
        found[f"{kind} logit"] = (logit - logit_clean).cpu().numpy().astype(np.float64)
    return found


def score_table(search: Search, effects: dict[str, Effects], n_heads: int) -> pd.DataFrame:
    """One row a head: mean, median, share of prompts with a drop, mean logit change, and the null's mean.

    `exact` is false only in refined mode, for heads whose numbers are first-order.
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
    return table


def ranking(table: pd.DataFrame) -> list[int]:
    """Row labels of one search's heads, most negative score first; a head not below 0 is never chosen."""
    below = table[table["score"] < 0]
    return below.sort_values(["score", "layer", "head"]).index.tolist()


def receivers_of(search: Search, done: dict[str, pd.DataFrame], group: int) -> Receivers | None:
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


def _refined(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    outputs: HeadOutputs,
    search: Search,
    receivers: Receivers,
    rows: np.ndarray,
    batch: int,
    options: PathPatchingOptions,
    runs: CleanRuns,
) -> Arrays:
    """The fields of a refined search's effects; says how far first-order scores were off where both are known."""
    assert options.refined is not None
    k = max(search.receiver_heads, KNEE_MOST if search.keep == KNEE else int(search.keep))
    limits = (k, rows, batch, options.max_rows, options.refined)
    found = refined_effects(decoder, prompts, outputs, search.token, receivers, *limits, clean_of=runs.of)
    senders = {"run exactly": np.flatnonzero(found.exact[: receivers.last * decoder.shape.n_heads])}
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


def check_some(model: str, rows: np.ndarray) -> None:
    """Raise UserError when there is no prompt to score heads on."""
    if not len(rows):
        raise UserError(f"{model}: no discovery prompt is answered rightly; use path_patching.prompts: all")


@dataclass(frozen=True)
class Chain:
    """What a chain of searches finds.

    table: one row a search and head. relative: of each search, the effects [sender, prompt] that its scores are means
    of. rows: the prompts that were scored.
    """

    table: pd.DataFrame
    relative: dict[str, np.ndarray]
    rows: np.ndarray


def run_chain(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    outputs: HeadOutputs,
    searches: list[Search],
    options: PathPatchingOptions,
    partial: Partial = NOTHING,
) -> Chain:
    """All searches of a chain.

    prompts: the clean discovery prompts. outputs: head outputs of their corrupted (and null) partners at the
    same role of their own. partial: what a killed job did, and its batch size. Raises
    UserError when a search patches into something that does not come earlier, or when no prompt is left.
    """
    batch = batch_size_of(decoder, prompts, options, partial)
    rows = np.arange(len(prompts))
    if options.correct_only:
        rows = np.flatnonzero(answered_rightly(decoder, prompts, batch))
    check_some(decoder.name, rows)
    log(f"{decoder.name}: {len(rows)} prompts, {batch} at a time, {len(searches)} searches")
    kinds = ("corrupted", "null") if options.null else ("corrupted",)
    runs = CleanRuns(decoder, prompts, single=len(rows) <= batch)
    done: dict[str, pd.DataFrame] = {}
    relative: dict[str, np.ndarray] = {}
    for search in searches:
        receivers = receivers_of(search, done, decoder.shape.group)
        if options.refined is not None and receivers is not None and any(receivers.layers):
            name = f"{search.name} refined"
            kept = partial.get(name)
            if kept is None:
                kept = _refined(decoder, prompts, outputs, search, receivers, rows, batch, options, runs)
                partial.put(name, kept)
            found = {"corrupted": Effects(kept["relative"], kept["logit"], kept["exact"])}
        else:
            found = search_effects(
                decoder, prompts, outputs, search, receivers, kinds, batch, options.max_rows, rows, runs, partial
            )
        done[search.name] = score_table(search, found, decoder.shape.n_heads)
        relative[search.name] = found["corrupted"].relative
    return Chain(pd.concat(done.values(), ignore_index=True), relative, rows)
