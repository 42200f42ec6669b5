"""Refined mode of a search: first-order scores choose which senders are run exactly. Off by default.

Pass 1 is exact for all senders and one gradient a prompt gives a first-order score for each. The strongest
candidates, those whose receivers' inputs move most, and a random sample are then run exactly. What first-order
scores leave out is second order: it grows with the square of how far the inputs move. The largest such error seen,
in units of that square, says how wrong each other score may be, and every sender that could still be among the top k
is run exactly too, a few at a time. Heads never run exactly keep their first-order score and are labelled so.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from entity_mech.engine import memory
from entity_mech.engine.clean import to_ids
from entity_mech.engine.direct_paths import ReceiverValues, direct_paths
from entity_mech.engine.first_order import clean_inputs, first_order_effects, receiver_gradients
from entity_mech.engine.path_patching import clean_answer, read_senders_
from entity_mech.engine.receiver_paths import Senders
from entity_mech.engine.receivers import Receivers
from entity_mech.errors import UserError
from entity_mech.methods.scored_prompts import ScoredPrompts
from entity_mech.progress import track

# Differences of scores below this are rounding.
ROUNDING = 1e-6


@dataclass(frozen=True)
class RefinedOptions:
    """How many senders are run exactly; k is the number of heads that the search must find."""

    first: float = 1.0  # strongest by first-order score, in units of k
    moved: float = 0.5  # whose receivers' inputs move most, in units of k
    share: float = 0.03  # random sample, as a share of the senders, but at least two
    random: int = 16  # at most so many of them
    grow: float = 0.5  # at most so many in each further step, in units of k
    seed: int = 0

    def n_random(self, senders: int) -> int:
        """Size of the random sample."""
        return min(self.random, max(2, round(self.share * senders)))


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


class _Kept:
    """Receiver values of prompt batches between the steps: in memory up to a budget, beyond it on disk."""

    def __init__(self, folder: str) -> None:
        self.folder, self.bytes = Path(folder), 0
        self.held: dict[int, ReceiverValues] = {}

    def put(self, first: int, values: ReceiverValues) -> None:
        here = {key: value.cpu().contiguous() for key, value in values.items()}
        size = sum(value.nbytes for value in here.values())
        if self.bytes + size > memory.CPU_BYTES:
            named = {f"{layer} {kind}": value for (layer, kind), value in here.items()}
            save_file(named, self.folder / f"{first}.safetensors")
            return
        self.held[first] = here
        self.bytes += size

    def get(self, first: int) -> ReceiverValues:
        if first in self.held:
            return self.held[first]
        named = load_file(self.folder / f"{first}.safetensors")
        return {(int(layer), kind): value for (layer, kind), value in ((n.split(), v) for n, v in named.items())}


def _first_round(
    scored: ScoredPrompts, token: str, receivers: Receivers, kept: _Kept
) -> tuple[np.ndarray, np.ndarray]:
    """First-order effects [sender, prompt] and how far each sender moves the receivers' inputs [sender]."""
    decoder, s = scored.decoder, scored.decoder.shape
    effects, moved = [], []
    parts = scored.parts()
    for part in track(parts, len(parts), f"{token}: pass 1"):
        batch = scored.batch(part, token)
        z = scored.sources("corrupted", token, part).to(decoder.dtype)
        _, values = direct_paths(decoder, batch, z, receivers)
        kept.put(part.start, values)
        base = clean_inputs(decoder, batch, receivers)
        gradients = receiver_gradients(decoder, batch, receivers)
        effect, far = first_order_effects(values, base, gradients, s.n_layers * s.n_heads)
        effects.append(effect.cpu())
        moved.append(far.sum(1).cpu())
    return torch.cat(effects, 1).double().numpy(), torch.stack(moved).sum(0).numpy()


def _run_exactly(
    scored: ScoredPrompts, token: str, receivers: Receivers, kept: _Kept, senders: np.ndarray, found: RefinedEffects
) -> None:
    """Pass 2 for some senders on all prompts; their rows of `found` become exact."""
    decoder = scored.decoder
    chosen = to_ids(decoder, np.sort(senders))
    index = chosen.cpu().numpy()
    parts = scored.parts()
    for part in track(parts, len(parts), f"{token}: {len(senders)} senders exactly"):
        batch = scored.batch(part, token)
        p_clean, logit_clean = clean_answer(decoder, batch)
        p = p_clean.expand(len(found.relative), -1).clone()
        logit = logit_clean.expand(len(found.relative), -1).clone()
        values = {key: value.to(decoder.device, decoder.dtype) for key, value in kept.get(part.start).items()}
        # Values, p and logit hold all senders, so a sender's place is its own number.
        everywhere = Senders(chosen, chosen)
        read_senders_(decoder, batch, receivers, values, everywhere, scored.max_rows, (p, logit))
        found.relative[index, part] = ((p - p_clean) / p_clean)[chosen].cpu().numpy()
        found.logit[index, part] = (logit - logit_clean)[chosen].cpu().numpy()
    found.exact[index] = True
    found.rounds.append(len(index))


def _contenders(found: RefinedEffects, moved: np.ndarray, k: int, below: int) -> list[int]:
    """Senders not run exactly that may be among the k most negative, strongest first-order score first.

    A score may be as wrong as the worst one seen, relative to how far the receivers' inputs move.
    """
    mean, ran = found.first_order.mean(1)[:below], found.exact[:below]
    scores = np.sort(found.relative[:below][ran].mean(1))
    bar = min(scores[k - 1], 0.0) if len(scores) >= k else 0.0  # a head not below 0 is never chosen
    error = np.maximum(np.abs(found.errors(np.flatnonzero(ran))) - ROUNDING, 0)
    worst = (error / np.maximum(moved[:below][ran], np.finfo(np.float32).tiny)).max()
    hopeful = ~ran & (mean - worst * moved[:below] < bar)
    return [int(i) for i in np.argsort(mean, kind="stable") if hopeful[i]]


def refined_effects(
    scored: ScoredPrompts, token: str, receivers: Receivers, k: int, options: RefinedOptions
) -> RefinedEffects:
    """Effects of a search with heads as receivers; k: how many heads it must find.

    Senders at or above the last receiver are exactly 0 and count as run. Raises UserError for a model of experts.
    """
    if scored.decoder.block.experts:
        raise UserError(
            f"path_patching.mode: refined is not for {scored.decoder.name}, whose MLPs are experts: its bound needs "
            "effects that are continuous, and the choice of experts is not. Use mode: exact"
        )
    s = scored.decoder.shape
    n, below = s.n_layers * s.n_heads, receivers.last * s.n_heads
    with tempfile.TemporaryDirectory() as folder:
        kept = _Kept(folder)
        first_order, moved = _first_round(scored, token, receivers, kept)
        logit = np.full_like(first_order, np.nan)
        logit[below:] = 0
        sample = np.random.default_rng(options.seed).permutation(below)[: options.n_random(below)]
        found = RefinedEffects(first_order.copy(), logit, first_order, np.arange(n) >= below, np.sort(sample))
        by_score = np.argsort(first_order.mean(1)[:below], kind="stable")
        by_move = np.argsort(-moved[:below], kind="stable")
        todo = {*by_score[: int(options.first * k)], *by_move[: int(options.moved * k)], *sample}
        while todo:
            _run_exactly(scored, token, receivers, kept, np.array(sorted(todo)), found)
            todo = set(_contenders(found, moved, k, below)[: max(1, int(options.grow * k))])
    return found
