"""Suffix runs: only the tokens from the first edited one on run again, from the first edited layer up.

Nothing before an edited token changes and nothing below the edited layer does, so those tokens' keys and values
are the clean run's. Rows may start and end at different tokens: their suffixes are packed one after another for
every matrix product, and attend in groups of equal start and end. One run can hold several copies of each row,
each with its own edits. Runs are differentiable; under inference mode they hold one layer's activations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entity_mech.engine.gradients import add_mlp, normed, projected, rotated
from entity_mech.engine.suffix_attention import suffix_attention
from entity_mech.models.decoder import Decoder

LAST = -1  # the site of every row's last token


@dataclass(frozen=True)
class SpanGroup:
    """Neighbouring rows, in the span's order, that start at the same token and are equally long."""

    rows: slice
    tokens: slice
    first: int
    n_pos: int


class Span:
    """Which tokens of each row run again: from its first site to `last`, both included.

    sites: positions of the edited tokens, [row, site]; the last token is a site of its own, `LAST`. Suffixes
    are packed in the span's own order, rows of a group side by side. Raises ValueError for a site before the
    row's start or after its end, or one that is the last token in some rows only.
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
        order = np.lexsort((last, first))
        starts = np.empty_like(n)
        starts[order] = np.cumsum(n[order]) - n[order]
        tokens = np.concatenate([sites, last[:, None]], 1)
        row = np.repeat(order, n[order])
        within = np.arange(int(n.sum())) - starts[row]

        def put(array: np.ndarray) -> Tensor:
            return torch.as_tensor(array, device=device)

        self.n_rows, self.n_prefix, self.n_pos = len(n), int(first.max()), int(n.max())
        self.groups = _groups(first[order], n[order])
        self.order: Int[Tensor, " row"] | None = None if len(self.groups) == 1 else put(order)
        self.row: Int[Tensor, " token"] = put(row)
        self.within: Int[Tensor, " token"] = put(within)
        self.position: Int[Tensor, " token"] = put(first[row] + within)
        self.tokens: Int[Tensor, "row site"] = put(tokens)
        self.sites: Int[Tensor, "row site"] = put(starts[:, None] + tokens - first[:, None])

    def column(self, site: int) -> int:
        """A site's number, one and the same for all names of the last token."""
        return self.tokens.shape[1] - 1 if site in self._last_sites else site

    @property
    def ends(self) -> Int[Tensor, " row"]:
        """Packed index of each row's last token."""
        return self.sites[:, LAST]

    def ordered(self, x: Tensor) -> Tensor:
        """Rows in the span's order, in which prefixes are kept."""
        return x if self.order is None else x[self.order]


def _groups(first: np.ndarray, n: np.ndarray) -> list[SpanGroup]:
    """Runs of equal start and length among rows in the span's order."""
    change = np.flatnonzero((np.diff(first) != 0) | (np.diff(n) != 0)) + 1
    edges, ends = [0, *change.tolist(), len(n)], [0, *np.cumsum(n).tolist()]
    return [SpanGroup(slice(a, b), slice(ends[a], ends[b]), int(first[a]), int(n[a])) for a, b in pairwise(edges)]


@dataclass(frozen=True)
class Edit:
    """New outputs of some heads of a layer at a site: weight * (what the run gives) + (1 - weight) * value.

    value: [*copy, row, n_heads, d_head]; weight: broadcasts to [copy, row, n_heads], none means 0. kind: `z`,
    head outputs, or `q`, rotated queries. out: [head, d_head, d_model], the output projection by head through which
    `value` passes where that is another model's; none: the layer's own.
    """

    layer: int
    site: int
    heads: tuple[int, ...]
    value: Tensor
    weight: Tensor | None = None
    kind: str = "z"
    out: Tensor | None = None

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

    def added(self, own: Float[Tensor, "head d_head d_model"]) -> Float[Tensor, "*copy row d_model"]:
        """What `value` adds to the projection's result beyond what the layer's `own` projection makes of it.

        Exactly 0 where the two projections are equal.
        """
        assert self.out is not None
        heads = list(self.heads)
        change = self.out[heads].to(own.device, own.dtype) - own[heads]
        value = self.value.to(own.dtype)
        if self.weight is not None:
            value = (1 - self.weight.to(own.dtype)[..., None]) * value
        return value.flatten(-2) @ change.flatten(0, 1)


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
    (entry 0 belongs to `layer`), rows in the span's order; k is rotated.
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
        x = suffix_layer(decoder, at, x, start.span, (k, v), [e for e in edits if e.layer == at])
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
    for site in [span.column(LAST)] if final else sorted(columns):
        clean = join.z[:, site].expand(len(x), *join.z[:, site].shape)
        z = clean
        for edit in edits:
            if span.column(edit.site) == site:
                z = edit.put(z)
        moved = projected((z - clean).flatten(2), decoder.layers[layer].out)
        for edit in edits:
            if edit.out is not None and span.column(edit.site) == site:
                moved = moved + edit.added(decoder.layers[layer].out_by_head)
        mid = add_mlp(decoder, layer, join.mid[:, site] + moved)
        if final:
            return mid
        out[:, span.sites[:, site]] = mid
    return out


def _edited(
    x: Float[Tensor, "copy token head d_head"], span: Span, edits: Sequence[Edit], kind: str, final: bool
) -> Float[Tensor, "copy token head d_head"]:
    """Queries or head outputs with the edits of that kind made; in the final layer x holds each row's last token."""
    here = [edit for edit in edits if edit.kind == kind]
    for site in dict.fromkeys(span.column(edit.site) for edit in here):
        if final and site != span.column(LAST):
            continue
        new = x if final else x[:, span.sites[:, site]]
        for edit in here:
            if span.column(edit.site) == site:
                new = edit.put(new)
        x = new if final else x.index_copy(1, span.sites[:, site], new)
    return x


def _with_contributions(
    decoder: Decoder,
    layer: int,
    x: Float[Tensor, "copy tokens d_model"],
    span: Span,
    edits: Sequence[Edit],
    final: bool,
) -> Float[Tensor, "copy tokens d_model"]:
    """The output projection's result, with what edits add whose values pass through another model's projection."""
    for edit in edits:
        if edit.out is None or (final and span.column(edit.site) != span.column(LAST)):
            continue
        more = edit.added(decoder.layers[layer].out_by_head)
        at = span.sites[:, edit.site]
        x = x + more if final else x.index_copy(1, at, x[:, at] + more)
    return x


def _project(
    decoder: Decoder, layer: int, x: Float[Tensor, "copy token d_model"], span: Span, final: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated q and k, and v, [copy, token, heads, d_head]; in the final layer q of each row's last token only."""
    s, w = decoder.shape, decoder.layers[layer]
    x = normed(x, w.norm_attn, s.norm_eps)
    cos, sin = decoder.rotary_cos[span.position, None], decoder.rotary_sin[span.position, None]
    if not final:
        packed = projected(x, w.qkv, w.qkv_bias).view(*x.shape[:2], -1, s.d_head)
        qk, v = packed.split([s.n_heads + s.n_kv_heads, s.n_kv_heads], 2)
        q, k = rotated(qk, cos, sin).split([s.n_heads, s.n_kv_heads], 2)
        return q, k, v
    queries, others = slice(s.n_heads * s.d_head), slice(s.n_heads * s.d_head, None)
    q = projected(x[:, span.ends], w.qkv, w.qkv_bias, queries).view(len(x), span.n_rows, -1, s.d_head)
    k, v = projected(x, w.qkv, w.qkv_bias, others).view(*x.shape[:2], -1, s.d_head).chunk(2, 2)
    return rotated(q, cos[span.ends], sin[span.ends]), rotated(k, cos, sin), v


def _attend(
    decoder: Decoder,
    span: Span,
    qkv: tuple[Tensor, Tensor, Tensor],
    prefix: tuple[Tensor, Tensor],
    blocked: Int[Tensor, " row"] | None,
    final: bool,
) -> Float[Tensor, "copy token head d_head"]:
    """Head outputs of every suffix token, or in the final layer of each row's last token."""
    q, k, v = qkv
    if final:
        q = q if span.order is None else q[:, span.order]
    sizes = [g.tokens.stop - g.tokens.start for g in span.groups]
    q_sizes = [g.rows.stop - g.rows.start for g in span.groups] if final else sizes
    found = []
    for group, *mine in zip(span.groups, q.split(q_sizes, 1), k.split(sizes, 1), v.split(sizes, 1), strict=True):
        rows = group.rows.stop - group.rows.start
        q_g, k_g, v_g = (x.unflatten(1, (rows, -1)) for x in mine)
        k_p, v_p = (x[group.rows, :, : group.first] for x in prefix)
        hidden = None if blocked is None else _hidden(blocked[group.rows], group, final)
        found.append(suffix_attention(decoder, q_g, k_g, v_g, k_p, v_p, hidden).flatten(1, 2))
    z = torch.cat(found, 1) if len(found) > 1 else found[0]
    return z.index_select(1, torch.argsort(span.order)) if final and span.order is not None else z


def _hidden(
    blocked: Int[Tensor, " row"], group: SpanGroup, final: bool
) -> Bool[Tensor, "1 row n_query n_prefix"] | None:
    """What a group's queries may not see: the first suffix token, one prefix token; the others, nothing."""
    if final and group.n_pos > 1:
        return None
    n_query = 1 if final else group.n_pos
    hidden = torch.zeros(1, len(blocked), n_query, group.first, dtype=torch.bool, device=blocked.device)
    hidden[0, :, 0] = torch.arange(group.first, device=blocked.device) == blocked[:, None]
    return hidden


def suffix_layer(
    decoder: Decoder,
    layer: int,
    x: Float[Tensor, "copy token d_model"],
    span: Span,
    prefix: tuple[Float[Tensor, "row kv_head n_prefix d_head"], Float[Tensor, "row kv_head n_prefix d_head"]],
    edits: Sequence[Edit] = (),
    blocked: Int[Tensor, " row"] | None = None,
) -> Float[Tensor, "copy tokens d_model"]:
    """One layer on all suffix tokens; the last layer makes each row's last token only, [copy, row, d_model].

    prefix: rotated keys, and values, rows in the span's order. blocked: position in the prefix, rows in the span's
    order, that each row's first suffix token may not see.
    """
    w, final = decoder.layers[layer], layer == decoder.shape.n_layers - 1
    q, k, v = _project(decoder, layer, x, span, final)
    q = _edited(q, span, edits, "q", final)
    z = _attend(decoder, span, (q, k, v), prefix, blocked, final)
    z = _edited(z, span, edits, "z", final)
    made = _with_contributions(decoder, layer, projected(z.flatten(2), w.out, w.out_bias), span, edits, final)
    before = x[:, span.ends] if final else x
    return add_mlp(decoder, layer, before + made)
