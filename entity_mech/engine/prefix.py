"""Clean prefixes for suffix runs: made from prompts, and kept when they are used again and fit in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from entity_mech.engine.clean import CleanRun, run_clean, to_ids
from entity_mech.engine.memory import slices
from entity_mech.engine.readout import predictions
from entity_mech.engine.store import role_positions
from entity_mech.engine.suffix import Join, Span, Start
from entity_mech.models.decoder import Decoder
from entity_mech.task.tokens import TokenizedPrompts

KEPT = frozenset({"pre", "z", "k", "v"})


@dataclass(frozen=True)
class EditPlan:
    """Which tokens are edited, by role (a site each), and the lowest edited layer."""

    roles: tuple[str, ...]
    layer: int

    def sites(self, prompts: TokenizedPrompts) -> np.ndarray:
        """Positions [prompt, site]. Raises UserError where a prompt has no such role."""
        return np.stack([role_positions(prompts, role) for role in self.roles], 1)

    def span(self, prompts: TokenizedPrompts, device: torch.device) -> Span:
        return Span(self.sites(prompts), prompts.roles["last"], device)


def start_at(clean: CleanRun, span: Span, layer: int, join: bool = True) -> Start:
    """The start of suffix runs out of a clean run that kept KEPT.

    join: `layer` is the lowest layer whose head outputs are edited, and its attention is not run again;
    otherwise `layer` is the first to run in full (`z` is not needed then).
    """
    first = layer + 1 if join else layer
    n_layers = len(clean.pre)
    stream = clean.pre[min(first, n_layers - 1)][span.row, span.position]
    rows = torch.arange(span.n_rows, device=span.row.device)[:, None]
    made = Join(clean.pre[layer][rows, span.tokens], clean.z[layer][rows, span.tokens]) if join else None
    k = [span.ordered(clean.k[at][:, :, : span.n_prefix]) for at in range(first, n_layers)]
    v = [span.ordered(clean.v[at][:, :, : span.n_prefix]) for at in range(first, n_layers)]
    return Start(span, first, stream, k, v, made)


class _Kept:
    """One plan's part of a bank: stream, and what joins it, of every prompt, padded to the longest suffix."""

    def __init__(self, decoder: Decoder, prompts: TokenizedPrompts, plan: EditPlan) -> None:
        s, n = decoder.shape, len(prompts)
        self.span = plan.span(prompts, torch.device("cpu"))
        n_sites = len(plan.roles) + 1
        like = decoder.embedding
        self.stream = like.new_empty(n, self.span.n_pos, s.d_model)
        self.before = like.new_empty(n, n_sites, s.d_model)
        self.z = like.new_empty(n, n_sites, s.n_heads, s.d_head)

    def fill(self, rows: slice, start: Start) -> None:
        assert start.join is not None
        self.stream[rows][start.span.row, start.span.within] = start.stream
        self.before[rows], self.z[rows] = start.join.before, start.join.z


class PrefixBank:
    """Starts for any rows of a set of prompts, under several plans; rows come back in the order asked for.

    When all prompts' prefixes fit in `budget` bytes they are computed once; otherwise each request computes
    its rows' clean run anew. Either way the numbers are those of a clean run.
    """

    def __init__(
        self, decoder: Decoder, prompts: TokenizedPrompts, plans: Sequence[EditPlan], budget: int, batch: int
    ) -> None:
        self.decoder, self.prompts, self.plans = decoder, prompts, list(dict.fromkeys(plans))
        self._kept: dict[EditPlan, _Kept] = {}
        self._batch = batch
        self.bytes = self._size()
        self.fits = self.bytes <= budget
        if self.fits and self.plans:
            self._fill()

    def _size(self) -> int:
        """Bytes that keeping everything takes."""
        s, n = self.decoder.shape, len(self.prompts)
        if not self.plans:
            return 0
        spans = [plan.span(self.prompts, torch.device("cpu")) for plan in self.plans]
        self._n_prefix = max(span.n_prefix for span in spans)
        self._first = min(plan.layer for plan in self.plans) + 1
        kv = 2 * (s.n_layers - self._first) * self._n_prefix * s.n_kv_heads * s.d_head
        own = sum((span.n_pos + span.tokens.shape[1]) * s.d_model for span in spans)
        own += sum(span.tokens.shape[1] * s.n_heads * s.d_head for span in spans)
        return n * (kv + own) * self.decoder.embedding.element_size()

    def _clean(self, rows: slice | np.ndarray) -> tuple[TokenizedPrompts, CleanRun]:
        part = self.prompts.rows(rows)
        return part, run_clean(self.decoder, to_ids(self.decoder, part.ids), KEPT)

    @cached_property
    def predictions(self) -> Int[np.ndarray, " prompt"]:
        """The unedited model's most likely next token of every prompt."""
        found = []
        with torch.inference_mode():
            for rows in slices(len(self.prompts), self._batch):
                part = self.prompts.rows(rows)
                clean = run_clean(self.decoder, to_ids(self.decoder, part.ids), keep=())
                found.append(predictions(self.decoder, clean.last(to_ids(self.decoder, part.length))).cpu())
        return torch.cat(found).numpy()

    @torch.no_grad()
    def _fill(self) -> None:
        s, n = self.decoder.shape, len(self.prompts)
        shape = (n, s.n_kv_heads, self._n_prefix, s.d_head)
        layers = range(self._first, s.n_layers)
        # Zeros: a padded position is hidden, but zero times a leftover NaN would not be zero.
        self._k = [self.decoder.embedding.new_zeros(shape) for _ in layers]
        self._v = [self.decoder.embedding.new_zeros(shape) for _ in layers]
        self._kept = {plan: _Kept(self.decoder, self.prompts, plan) for plan in self.plans}
        for rows in slices(n, self._batch):
            part, clean = self._clean(rows)
            for i, layer in enumerate(layers):
                width = min(self._n_prefix, part.ids.shape[1])
                self._k[i][rows, :, :width] = clean.k[layer][:, :, :width]
                self._v[i][rows, :, :width] = clean.v[layer][:, :, :width]
            for plan, kept in self._kept.items():
                kept.fill(rows, start_at(clean, plan.span(part, self.decoder.device), plan.layer))

    @torch.no_grad()
    def start(self, plan: EditPlan, rows: slice | np.ndarray) -> Start:
        """The start of some rows under one of the bank's plans. Neighbouring rows (a slice) are not copied."""
        if not self.fits:
            part, clean = self._clean(rows)
            return start_at(clean, plan.span(part, self.decoder.device), plan.layer)
        kept = self._kept[plan]
        span = plan.span(self.prompts.rows(rows), self.decoder.device)
        at: slice | Int[Tensor, " row"] = rows if isinstance(rows, slice) else to_ids(self.decoder, rows)
        ordered = at
        if span.order is not None:
            ordered = torch.arange(len(self.prompts), device=self.decoder.device)[at][span.order]
        skip = plan.layer + 1 - self._first
        return Start(
            span,
            plan.layer + 1,
            kept.stream[at][span.row, span.within],
            [k[:, :, : span.n_prefix][ordered] for k in self._k[skip:]],
            [v[:, :, : span.n_prefix][ordered] for v in self._v[skip:]],
            Join(kept.before[at], kept.z[at]),
        )
