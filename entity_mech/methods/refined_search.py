"""Refined mode of a search: first-order scores choose which senders are run exactly. Off by default.

Pass 1 is exact for all senders and one gradient a prompt gives a first-order score for each. The strongest
candidates, those whose receivers' inputs move most, and a random sample are then run exactly, and the exact
set grows until a further step brings nothing into the top k. Heads never run exactly keep their first-order
score and are labelled so.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entity_mech.engine.clean import EVERYTHING, CleanRun, run_clean, to_ids
from entity_mech.engine.direct_paths import ReceiverValues, direct_paths
from entity_mech.engine.first_order import clean_inputs, first_order_effects, receiver_gradients
from entity_mech.engine.path_patching import clean_answer, read_senders_
from entity_mech.engine.receivers import Receivers
from entity_mech.models.decoder import Decoder
from entity_mech.progress import track
from entity_mech.task.tokens import TokenizedPrompts

# (kind: "corrupted" or "null", role, prompts) -> head outputs [prompt, layer, head, d_head]
HeadOutputs = Callable[[str, str, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class RefinedOptions:
    """How many senders are run exactly, in units of k (the number of heads that the search must find)."""

    first: float = 3.0  # strongest by first-order score
    moved: float = 1.0  # whose receivers' inputs move most
    random: int = 16  # senders
    grow: float = 1.0  # added in each further step
    seed: int = 0


@dataclass
class RefinedEffects:
    """Relative and logit effects [sender, prompt]; rows not run exactly hold first-order effects (logit NaN)."""

    relative: np.ndarray
    logit: np.ndarray
    first_order: np.ndarray
    exact: np.ndarray  # bool [sender]
    sample: np.ndarray  # senders of the random sample
    rounds: list[int] = field(default_factory=list)  # senders run exactly in each step

    def errors(self, senders: np.ndarray) -> np.ndarray:
        """First-order minus exact mean score of exactly run senders."""
        return np.asarray((self.first_order[senders] - self.relative[senders]).mean(1))


class _Batches:
    """Prompt batches with their receiver values kept on disk between the rounds, so memory stays bounded."""

    def __init__(
        self, decoder: Decoder, prompts: TokenizedPrompts, rows: np.ndarray, size: int, token: str, folder: str
    ):
        self.decoder, self.prompts, self.rows, self.token = decoder, prompts, rows, token
        self.folder = Path(folder)
        self.starts = range(0, len(rows), size)
        self.size = size

    def __iter__(self) -> Iterator[tuple[int, np.ndarray, tuple[Tensor, ...], CleanRun]]:
        for first in self.starts:
            at = self.rows[first : first + self.size]
            part = self.prompts.rows(at)
            facts = (part.length, part.answer, part.roles[self.token])
            clean = run_clean(self.decoder, to_ids(self.decoder, part.ids), EVERYTHING)
            yield first, at, tuple(to_ids(self.decoder, fact) for fact in facts), clean

    def save(self, first: int, values: ReceiverValues) -> None:
        for (layer, kind), value in values.items():
            np.save(self.folder / f"{first}-{layer}-{kind}.npy", value.float().cpu().numpy(), allow_pickle=False)

    def load(self, first: int, receivers: Receivers) -> ReceiverValues:
        values = {}
        for layer, kinds in receivers.layers.items():
            for kind in kinds if layer else ():
                array = np.load(self.folder / f"{first}-{layer}-{kind}.npy", allow_pickle=False)
                values[layer, kind] = torch.as_tensor(array).to(self.decoder.device, self.decoder.dtype)
        return values


def _first_round(batches: _Batches, outputs: HeadOutputs, receivers: Receivers) -> tuple[np.ndarray, np.ndarray]:
    """First-order effects [sender, prompt] and how far each sender moves the receivers' inputs [sender]."""
    s = batches.decoder.shape
    effects, moved = [], []
    for first, at, (length, answer, pos), clean in track(batches, len(batches.starts), f"{batches.token}: pass 1"):
        z = torch.as_tensor(outputs("corrupted", batches.token, at)).to(batches.decoder.device, batches.decoder.dtype)
        _, values = direct_paths(batches.decoder, clean, pos, z, receivers)
        batches.save(first, values)
        base = clean_inputs(batches.decoder, clean, pos, receivers)
        gradients = receiver_gradients(batches.decoder, clean, length, answer, pos, receivers)
        effect, far = first_order_effects(values, base, gradients, s.n_layers * s.n_heads)
        effects.append(effect.cpu())
        moved.append(far.sum(1).cpu())
    return torch.cat(effects, 1).double().numpy(), torch.stack(moved).sum(0).numpy()


def _run_exactly(
    batches: _Batches, receivers: Receivers, senders: np.ndarray, max_rows: int, found: RefinedEffects
) -> None:
    """Pass 2 for some senders on all prompts; their rows of `found` become exact."""
    chosen = to_ids(batches.decoder, np.sort(senders))
    index = chosen.cpu().numpy()
    for first, _, (length, answer, pos), clean in track(
        batches, len(batches.starts), f"{batches.token}: {len(senders)} senders exactly"
    ):
        p_clean, logit_clean = clean_answer(batches.decoder, clean, length, answer)
        p = p_clean.expand(len(found.relative), -1).clone()
        logit = logit_clean.expand(len(found.relative), -1).clone()
        values = batches.load(first, receivers)
        which = (chosen, chosen)  # senders, and their places: values, p and logit hold all senders
        read_senders_(batches.decoder, clean, length, answer, pos, receivers, values, max_rows, *which, p, logit)
        columns = slice(first, first + len(length))
        found.relative[index, columns] = ((p - p_clean) / p_clean)[chosen].cpu().numpy()
        found.logit[index, columns] = (logit - logit_clean)[chosen].cpu().numpy()
    found.exact[index] = True
    found.rounds.append(len(index))


def _top(scores: np.ndarray, k: int) -> set[int]:
    """The k most negative senders (fewer where not negative)."""
    order = [int(i) for i in np.argsort(scores, kind="stable")[:k] if scores[i] < 0]
    return set(order)


def refined_effects(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    outputs: HeadOutputs,
    token: str,
    receivers: Receivers,
    k: int,
    rows: np.ndarray,
    batch_size: int,
    max_rows: int,
    options: RefinedOptions,
) -> RefinedEffects:
    """Effects of a search with heads as receivers; k: how many heads it must find.

    Senders at or above the last receiver are exactly 0 and count as run.
    """
    s = decoder.shape
    n, below = s.n_layers * s.n_heads, receivers.last * s.n_heads
    with tempfile.TemporaryDirectory() as folder:
        batches = _Batches(decoder, prompts, rows, batch_size, token, folder)
        first_order, moved = _first_round(batches, outputs, receivers)
        logit = np.full_like(first_order, np.nan)
        logit[below:] = 0
        sample = np.random.default_rng(options.seed).permutation(below)[: options.random]
        found = RefinedEffects(first_order.copy(), logit, first_order, np.arange(n) >= below, np.sort(sample))
        by_score = np.argsort(first_order.mean(1), kind="stable")
        by_score = by_score[by_score < below]
        by_move = np.argsort(-moved[:below], kind="stable")
        todo = {*by_score[: int(options.first * k)], *by_move[: int(options.moved * k)], *sample}
        while todo:
            before = _top(np.where(found.exact, found.relative.mean(1), np.inf), k)
            _run_exactly(batches, receivers, np.array(sorted(todo)), max_rows, found)
            after = _top(np.where(found.exact, found.relative.mean(1), np.inf), k)
            if before == after and len(found.rounds) > 1:
                break
            left = [i for i in by_score if not found.exact[i]]
            todo = set(left[: max(1, int(options.grow * k))])
    return found
