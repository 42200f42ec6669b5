"""Suffix runs: only the tokens from the first edited one on run again, from the first edited layer up.

Nothing before an edited token changes and nothing below the edited layer does, so those tokens' keys and values
are the clean run's. Rows may start and end at different tokens: their suffixes are packed one after another for
every matrix product, and padded for attention only. One run can hold several copies of each row, each with its
own edits. Runs are differentiable; under inference mode they hold no more than one layer's activations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entity_mech.engine.ops import add_mlp_, mlp, rms_norm, rotate, split_qkv
from entity_mech.engine.suffix_attention import suffix_attention
from entity_mech.models.decoder import Decoder

LAST = -1  # the site of every row's last token


class Span:
    """Which tokens of each row run again: from `first` to `last`, both included.

    sites: positions of the edited tokens, [row, site]; a row's suffix starts at its first site. The last
    token is a site of its own, `LAST`. Raises ValueError for a site before the row's start or after its end.
    """

    def __init__(self, sites: np.ndarray, last: np.ndarray, device: torch.device) -> None:
        if (sites < 0).any() or (sites > last[:, None]).any():
            raise ValueError("an edited token is not in its row")
        at_last = sites == last[:, None]
        if (at_last.any(0) != at_last.all(0)).any():
            raise ValueError("an edited token is the last one in some rows only")
        self._last_sites = {LAST, *np.flatnonzero(at_last.all(0)).tolist()}
        first = sites.min(1)
        n = last - first + 1
        starts = np.cumsum(n) - n
        self.n_prefix, self.n_pos = int(first.max()), int(n.max())
        self.ragged = bool((n != n[0]).any())
        within = np.arange(int(n.sum())) - np.repeat(starts, n)

        def put(array: np.ndarray) -> Tensor:
            return torch.as_tensor(array, device=device)

        self.position: Int[Tensor, " token"] = put(np.repeat(first, n) + within)
        self.row: Int[Tensor, " token"] = put(np.repeat(np.arange(len(n)), n))
        padded = np.minimum(np.arange(self.n_pos), n[:, None] - 1) + starts[:, None]
        self.pad: Int[Tensor, "row n_pos"] = put(padded)
        self.pack: Int[Tensor, " token"] = put(np.repeat(np.arange(len(n)) * self.n_pos, n) + within)
        columns = np.concatenate([sites, last[:, None]], 1)
        self.tokens: Int[Tensor, "row site"] = put(columns)
        self.sites: Int[Tensor, "row site"] = put(starts[:, None] + columns - first[:, None])
        self._n = put(n)
        self._own: Bool[Tensor, "1 row 1 n_prefix"] | None = None
        if (first != first[0]).any():
            self._own = put(np.arange(self.n_prefix) >= first[:, None])[None, :, None]

    @property
    def n_rows(self) -> int:
        return len(self.tokens)

    @property
    def last_column(self) -> int:
        """The site that is each row's last token."""
        return self.tokens.shape[1] - 1

    def column(self, site: int) -> int:
        """A site's number, one and the same for all names of the last token."""
        return self.last_column if site in self._last_sites else site

    def hide(
        self, hidden: Bool[Tensor, "copies row queries n_prefix"] | None, final: bool
    ) -> Bool[Tensor, "copies_out row queries_out n_prefix"] | None:
        """What a layer's queries may not see of the prefix: `hidden`, and what is no prefix in that row.

        final: the only query is each row's last token.
        """
        if hidden is not None and final and hidden.shape[2] > 1:
            rows = torch.arange(self.n_rows, device=self.row.device)
            hidden = hidden[:, rows, self._n - 1][:, :, None]
        if self._own is None:
            return hidden
        return self._own if hidden is None else hidden | self._own

    @cached_property
    def beyond(self) -> Bool[Tensor, "row n_pos"] | None:
        """Padding after the end of a short suffix, as the last token must not see it."""
        return torch.arange(self.n_pos, device=self.row.device) >= self._n[:, None] if self.ragged else None

    def padded(self, x: Float[Tensor, "copy token heads d_head"]) -> Float[Tensor, "copy row n_pos heads d_head"]:
        """Packed tokens as a table of rows; padding repeats a row's last token."""
        return x[:, self.pad] if self.ragged else x.unflatten(1, (-1, self.n_pos))

    def packed(self, x: Float[Tensor, "copy row n_pos heads d_head"]) -> Float[Tensor, "copy token heads d_head"]:
        """The inverse of `padded`."""
        flat = x.flatten(1, 2)
        return flat[:, self.pack] if self.ragged else flat


@dataclass(frozen=True)
class Edit:
    """New outputs of some heads of a layer at a site: weight * (what the run gives) + (1 - weight) * value.

    value: [*copy, row, n_heads, d_head]; weight: broadcasts to [copy, row, n_heads], none means 0. kind: `z`,
    head outputs, or `q`, rotated queries.
    """

    layer: int
    site: int
    heads: tuple[int, ...]
    value: Tensor
    weight: Tensor | None = None
    kind: str = "z"

    def put(self, x: Float[Tensor, "copy row head d_head"]) -> Float[Tensor, "copy row head d_head"]:
        """`x` with these heads replaced."""
        heads = list(self.heads)
        new = self.value.to(x.dtype)
        if self.weight is not None:
            w = self.weight.to(x.dtype)[..., None]
            new = w * x[:, :, heads] + (1 - w) * new
        x = x.clone()
        x[:, :, heads] = new
        return x


@dataclass(frozen=True)
class Join:
    """The clean run in the first edited layer, at every site (the last token is the last site).

    mid: residual stream after attention; z: head outputs.
    """

    mid: Float[Tensor, "row site d_model"]
    z: Float[Tensor, "row site head d_head"]


@dataclass(frozen=True)
class Start:
    """What a suffix run needs of the clean run.

    layer: the first layer that runs in full; with a `join`, edits may also be made in the layer below it.
    stream: residual stream before `layer` at the suffix tokens. k, v: of the prefix, from `layer` up
    (entry 0 belongs to `layer`); k is rotated.
    """

    span: Span
    layer: int
    stream: Float[Tensor, "token d_model"]
    k: list[Tensor]  # [row, kv_head, n_prefix, d_head]
    v: list[Tensor]
    join: Join | None = None


def check_edits(decoder: Decoder, start: Start, edits: Sequence[Edit]) -> None:
    """Raise ValueError for an edit that touches nothing: no head, or a place that does not run."""
    if not edits:
        raise ValueError("no edits: the run would be the clean one")
    lowest = start.layer if start.join is None else start.layer - 1
    for edit in edits:
        if not edit.heads:
            raise ValueError(f"an edit in layer {edit.layer} names no head and touches nothing")
        if not lowest <= edit.layer < decoder.shape.n_layers or edit.kind not in ("q", "z"):
            raise ValueError(f"an edit of {edit.kind} in layer {edit.layer} touches nothing: {lowest} and up run")
        if not LAST <= edit.site < start.span.tokens.shape[1]:
            raise ValueError(f"an edit at site {edit.site} touches nothing")


def run_suffix(
    decoder: Decoder, start: Start, edits: Sequence[Edit], copies: int = 1
) -> Float[Tensor, "copy row d_model"]:
    """Final residual stream at each row's last token under the edits."""
    check_edits(decoder, start, edits)
    x = start.stream.expand(copies, *start.stream.shape)
    if start.join is not None:
        x = _join_layer(decoder, start, start.join, [e for e in edits if e.layer == start.layer - 1], x)
    return run_layers(decoder, start, x, edits)


def run_layers(
    decoder: Decoder, start: Start, x: Float[Tensor, "copy token d_model"], edits: Sequence[Edit] = ()
) -> Float[Tensor, "copy row d_model"]:
    """The layers that run in full, on the residual stream before `start.layer`, up to each row's last token."""
    for at, (k, v) in enumerate(zip(start.k, start.v, strict=True), start.layer):
        x = suffix_layer(decoder, at, x, start.span, k, v, [e for e in edits if e.layer == at])
    return x


def _add_mlp(decoder: Decoder, layer: int, x: Float[Tensor, "copy token d_model"]) -> Tensor:
    """x + mlp(x): in place in blocks where no gradient is kept."""
    if torch.is_grad_enabled():
        return x + mlp(decoder, layer, x)
    add_mlp_(decoder, layer, x.view(-1, x.shape[-1]))
    return x


def _edited(
    x: Float[Tensor, "copy token head d_head"],
    span: Span,
    edits: Sequence[Edit],
    kind: str,
    final: bool,
) -> Float[Tensor, "copy token head d_head"]:
    """Queries or head outputs with the edits of that kind made; in the final layer x holds last tokens only."""
    here = [edit for edit in edits if edit.kind == kind]
    for site in dict.fromkeys(span.column(edit.site) for edit in here):
        if final and site != span.last_column:
            continue
        at = slice(None) if final else span.sites[:, site]
        new = x[:, at]
        for edit in here:
            if span.column(edit.site) == site:
                new = edit.put(new)
        x = x.clone()
        x[:, at] = new
    return x


def _join_layer(
    decoder: Decoder, start: Start, join: Join, edits: Sequence[Edit], x: Float[Tensor, "copy token d_model"]
) -> Tensor:
    """The first edited layer: attention is the clean one, so only the edited tokens change.

    When it is the model's last layer, only each row's last token is made, [copy, row, d_model].
    """
    layer, span = start.layer - 1, start.span
    final = start.layer == decoder.shape.n_layers
    columns = {span.column(edit.site) for edit in edits}
    out = x.clone()
    for site in [span.last_column] if final else sorted(columns):
        clean = join.z[:, site].expand(len(x), *join.z[:, site].shape)
        z = clean
        for edit in edits:
            if span.column(edit.site) == site:
                z = edit.put(z)
        mid = join.mid[:, site] + F.linear((z - clean).flatten(2), decoder.layers[layer].out)
        mid = _add_mlp(decoder, layer, mid)
        if final:
            return mid
        out[:, span.sites[:, site]] = mid
    return out


def _project(
    decoder: Decoder, layer: int, x: Float[Tensor, "copy token d_model"], ends: Int[Tensor, " row"] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Unrotated q, k, v; with `ends`, queries of those tokens only."""
    if ends is None or len(ends) == x.shape[1]:
        return split_qkv(decoder, layer, x)
    s, w = decoder.shape, decoder.layers[layer]
    n_q = s.n_heads * s.d_head
    bias = (None, None) if w.qkv_bias is None else (w.qkv_bias[:n_q], w.qkv_bias[n_q:])
    normed = rms_norm(x, w.norm_attn, s.norm_eps)
    q = F.linear(normed[:, ends], w.qkv[:n_q], bias[0]).unflatten(-1, (-1, s.d_head))
    k, v = F.linear(normed, w.qkv[n_q:], bias[1]).unflatten(-1, (-1, s.d_head)).chunk(2, -2)
    return q, k, v


def suffix_layer(
    decoder: Decoder,
    layer: int,
    x: Float[Tensor, "copy token d_model"],
    span: Span,
    prefix_k: Float[Tensor, "row kv_head n_prefix d_head"],
    prefix_v: Float[Tensor, "row kv_head n_prefix d_head"],
    edits: Sequence[Edit] = (),
    hidden: Bool[Tensor, "copies row queries n_prefix"] | None = None,
) -> Float[Tensor, "copy tokens d_model"]:
    """One layer on all suffix tokens; the last layer makes each row's last token only, [copy, row, d_model].

    hidden: prefix tokens that suffix tokens may not see (1 stands for all copies or tokens).
    """
    w, final = decoder.layers[layer], layer == decoder.shape.n_layers - 1
    ends = span.sites[:, LAST] if final else None
    q, k, v = _project(decoder, layer, x, ends)
    at = span.position if ends is None else span.position[ends]
    q = rotate(q, decoder.rotary_cos[at, None], decoder.rotary_sin[at, None])
    k = rotate(k, decoder.rotary_cos[span.position, None], decoder.rotary_sin[span.position, None])
    q = _edited(q, span, edits, "q", final)
    q = q[:, :, None] if final else span.padded(q)
    k, v = span.padded(k), span.padded(v)
    hidden = span.hide(hidden, final)
    own_hidden = span.beyond if final else None
    z = suffix_attention(decoder, q, k, v, prefix_k, prefix_v, hidden, own_hidden)
    z = _edited(z[:, :, 0] if final else span.packed(z), span, edits, "z", final)
    before = x if ends is None else x[:, ends]
    return _add_mlp(decoder, layer, before + F.linear(z.flatten(2), w.out, w.out_bias))
