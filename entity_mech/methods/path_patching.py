"""The chain of path-patching searches (method, section 4; paper, section 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from entity_mech.engine.clean import CleanRun, run_clean, to_ids
from entity_mech.engine.memory import path_patching_batch
from entity_mech.engine.partial import NOTHING, Arrays, Partial
from entity_mech.engine.path_patching import KEPT, clean_answer, patched_answers
from entity_mech.engine.receivers import Receivers
from entity_mech.errors import UserError
from entity_mech.methods.candidates import KNEE, KNEE_MOST
from entity_mech.methods.head_scores import Effects, score_table
from entity_mech.methods.refined_search import HeadOutputs, refined_effects
from entity_mech.methods.searches import PathPatchingOptions, PathSearch
from entity_mech.models.decoder import Decoder
from entity_mech.progress import log, track
from entity_mech.task.tokens import TokenizedPrompts


@dataclass(frozen=True)
class ScoredPrompts:
    """What a chain scores heads on.

    prompts: clean ones. outputs: head outputs of their corrupted (and null) partners at the same role of their own.
    rows: places of the prompts that count.
    """

    prompts: TokenizedPrompts
    outputs: HeadOutputs
    rows: np.ndarray


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


class Chain:
    """Searches of one model on the same prompts, with the clean runs that they share.

    partial: batches that an earlier, killed job did; those done here are put there. layers: senders' layers
    (ascending) when not all heads are asked for. Raises UserError when there is no prompt to score heads on.
    """

    def __init__(
        self,
        decoder: Decoder,
        scored: ScoredPrompts,
        options: PathPatchingOptions,
        partial: Partial = NOTHING,
        layers: Sequence[int] | None = None,
    ) -> None:
        self.decoder, self.scored, self.options, self.partial = decoder, scored, options, partial
        self.layers = None if layers is None else list(layers)
        if not len(scored.rows):
            raise UserError(
                f"{decoder.name}: it answers no discovery prompt correctly; use path_patching.prompts: all"
            )
        self.batch = self._batch_size()
        self.runs = CleanRuns(decoder, scored.prompts, single=len(scored.rows) <= self.batch)

    def _batch_size(self) -> int:
        """Prompts at a time: as configured, as a killed job began, or from free memory."""
        prompts, given = self.scored.prompts, self.options.batch_size
        batch = min(given or path_patching_batch(self.decoder, prompts.ids.shape[1]), len(prompts))
        if (before := self.partial.get("batch")) is not None and given is None:
            batch = int(before["size"].item())
        self.partial.put("batch", {"size": np.array([batch])})
        return batch

    def effects(self, search: PathSearch, receivers: Receivers | None) -> dict[str, Effects]:
        """Effects of heads at a search's token for each kind of source."""
        if self.options.refined is not None and receivers is not None and any(receivers.layers):
            name = f"{search.name} refined"
            kept = self.partial.get(name)
            if kept is None:
                kept = self._refined(search, receivers)
                self.partial.put(name, kept)
            return {"corrupted": Effects(kept["relative"], kept["logit"], kept["exact"])}
        kinds = ("corrupted", "null") if self.options.null else ("corrupted",)
        parts: list[Arrays] = []
        batches = _batches(len(self.scored.rows), self.batch)
        for index in track(batches, len(batches), f"{search.name}: prompt batches of {self.batch}"):
            name, rows = f"{search.name} {index[0]}", self.scored.rows[index]
            found = self.partial.get(name)
            if found is None or not np.array_equal(found["rows"], rows):
                found = {"rows": rows, **self._of_batch(search, receivers, kinds, rows)}
                self.partial.put(name, found)
            parts.append(found)
        return {
            kind: Effects(
                *(np.concatenate([part[f"{kind} {side}"] for part in parts], 1) for side in ("relative", "logit"))
            )
            for kind in kinds
        }

    def _of_batch(
        self, search: PathSearch, receivers: Receivers | None, kinds: Sequence[str], rows: np.ndarray
    ) -> Arrays:
        """One batch of a search: "corrupted relative" and the like, each [sender, prompt]."""
        decoder, part = self.decoder, self.scored.prompts.rows(rows)
        length, answer = to_ids(decoder, part.length), to_ids(decoder, part.answer)
        pos = to_ids(decoder, part.roles[search.token])
        clean = self.runs.of(rows)
        p_clean, logit_clean = clean_answer(decoder, clean, length, answer)
        found: Arrays = {}
        for kind in kinds:
            z = torch.as_tensor(self.scored.outputs(kind, search.token, rows), device=decoder.device)
            p, logit = patched_answers(
                decoder, clean, length, answer, pos, z, receivers, self.options.max_rows, self.layers
            )
            found[f"{kind} relative"] = ((p - p_clean) / p_clean).cpu().numpy().astype(np.float64)
            found[f"{kind} logit"] = (logit - logit_clean).cpu().numpy().astype(np.float64)
        return found

    def _refined(self, search: PathSearch, receivers: Receivers) -> Arrays:
        """A refined search's effects; the log says how far first-order scores were off where both are known."""
        options, scored = self.options, self.scored
        assert options.refined is not None
        k = max(search.receiver_heads, KNEE_MOST if search.keep == KNEE else int(search.keep))
        limits = (k, scored.rows, self.batch, options.max_rows, options.refined)
        found = refined_effects(
            self.decoder,
            scored.prompts,
            scored.outputs,
            search.token,
            receivers,
            *limits,
            clean_of=self.runs.of,
        )
        senders = {"run exactly": np.flatnonzero(found.exact[: receivers.last * self.decoder.shape.n_heads])}
        senders["random sample"] = found.sample
        for name, which in senders.items():
            error = np.abs(found.errors(which))
            log(
                f"{search.name}: first-order error on {len(which)} {name}: "
                f"mean {error.mean():.2g}, max {error.max():.2g}"
            )
        return {"relative": found.relative, "logit": found.logit, "exact": found.exact}


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


def run_chain(
    chain: Chain, searches: Sequence[PathSearch], earlier: Mapping[str, pd.DataFrame] | None = None
) -> dict[str, dict[str, Effects]]:
    """Effects [sender, prompt] of the heads of the chain's layers in each search, by kind of source.

    earlier: score tables of searches that were run before. A search that patches into one of `searches` needs all
    layers of it, so shards run one search at a time. Raises UserError when a search patches into something that does
    not come earlier.
    """
    shape = chain.decoder.shape
    which = "" if chain.layers is None else f", {len(chain.layers)} of {shape.n_layers} layers"
    log(
        f"{chain.decoder.name}: {len(chain.scored.rows)} prompts, {chain.batch} at a time, "
        f"{len(searches)} searches{which}"
    )
    done, found = dict(earlier or {}), {}
    for search in searches:
        found[search.name] = chain.effects(search, receivers_of(search, done, shape.group))
        if chain.layers is None:
            done[search.name] = score_table(search, found[search.name], shape.n_heads)
    return found


def chain_table(
    searches: Sequence[PathSearch], effects: Mapping[str, dict[str, Effects]], n_heads: int
) -> pd.DataFrame:
    """Score tables of a chain's searches below each other: a row for each search and head."""
    tables = [score_table(search, effects[search.name], n_heads) for search in searches]
    return pd.concat(tables, ignore_index=True)
