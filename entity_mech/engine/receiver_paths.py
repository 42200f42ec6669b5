"""Pass 2 of path patching: the clean prompt with only the receivers' inputs patched, read at the last token.

Nothing before the patched token changes, and nothing below a row's first receiver layer: only the suffix of
tokens runs, from that layer up, against the clean prefix's keys and values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entity_mech.engine.clean import CleanRun
from entity_mech.engine.direct_paths import ReceiverValues
from entity_mech.engine.join import JoinLayer, SuffixGroup
from entity_mech.engine.ops import add_mlp_, rotate, row_block, split_qkv_of_end
from entity_mech.engine.packed import linear
from entity_mech.engine.receivers import Receivers
from entity_mech.engine.suffix_attention import suffix_attention
from entity_mech.models.decoder import Decoder


@dataclass(frozen=True)
class Senders:
    """Senders of pass 2, ascending.

    index: layer * n_heads + head. places: their rows in pass 1's values, which may hold some layers only.
    """

    index: Int[Tensor, " sender"]
    places: Int[Tensor, " sender"]

    def split(self, size: int) -> "Iterator[Senders]":
        """Neighbouring parts of at most `size`."""
        return map(Senders, self.index.split(size), self.places.split(size))


def suffix_groups(pos: Int[Tensor, " prompt"], last: Int[Tensor, " prompt"]) -> list[SuffixGroup]:
    """Prompts with the same first token and last token run together."""
    found: dict[tuple[int, int], list[int]] = {}
    for i, key in enumerate(zip(pos.tolist(), last.tolist(), strict=True)):
        found.setdefault(key, []).append(i)
    return [SuffixGroup(torch.tensor(ix, device=pos.device), *key) for key, ix in sorted(found.items())]


def _run_layer(
    decoder: Decoder,
    clean: CleanRun,
    group: SuffixGroup,
    layer: int,
    rows: Float[Tensor, "sender prompt n_pos d_model"],
    patched: dict[str, Tensor],
    wanted: dict[str, list[int]],
) -> None:
    """Attention of a layer on rows that joined below it, in place; receivers keep their pass-1 inputs."""
    w, n_pos = decoder.layers[layer], rows.shape[2]
    n_query = 1 if layer == decoder.shape.n_layers - 1 else n_pos
    span = slice(group.start, group.last + 1)
    cos, sin = decoder.rotary_cos[span, None], decoder.rotary_sin[span, None]
    prefix_k = clean.k[layer][group.prompts, :, : group.start]
    prefix_v = clean.v[layer][group.prompts, :, : group.start]
    step = max(1, row_block(decoder) // (rows.shape[1] * n_pos))
    for first in range(0, rows.shape[0], step):
        block = rows[first : first + step]
        q, k, v = split_qkv_of_end(decoder, layer, block, n_query)
        for kind, tensor in (("q", q), ("k", k), ("v", v)):
            if kind in patched and not (kind == "q" and n_query < n_pos):
                tensor[:, :, 0, wanted[kind]] = patched[kind][first : first + step]
        q, k = rotate(q, cos[n_pos - n_query :], sin[n_pos - n_query :]), rotate(k, cos, sin)
        z = suffix_attention(decoder, q, k, v, prefix_k, prefix_v)
        block[:, :, n_pos - n_query :] += linear(z.flatten(3), w.out, w.out_bias)


def _run_block(
    decoder: Decoder,
    clean: CleanRun,
    group: SuffixGroup,
    receivers: Receivers,
    values: ReceiverValues,
    joins: dict[int, JoinLayer],
    senders: Senders,
) -> Float[Tensor, "sender prompt d_model"]:
    """Final residual stream at the last token for some senders."""
    s = decoder.shape
    index, places = senders.index, senders.places
    below = torch.bincount(index.cpu() // s.n_heads, minlength=s.n_layers).cumsum(0).tolist()
    span = slice(group.start, group.last + 1)
    shape = (len(index), len(group.prompts), group.n_pos, s.d_model)
    rows = torch.empty(shape, dtype=decoder.dtype, device=decoder.device)
    joined = 0
    for layer in range(receivers.next_above(int(index[0]) // s.n_heads), s.n_layers):
        wanted = receivers.layers.get(layer, {})
        total = below[layer - 1] if wanted else joined
        patched = {kind: values[layer, kind][places[:total, None], group.prompts[None]] for kind in wanted}
        if joined:
            old = {kind: v[:joined] for kind, v in patched.items()}
            _run_layer(decoder, clean, group, layer, rows[:joined], old, wanted)
        if total > joined:
            if layer not in joins:
                joins[layer] = JoinLayer(decoder, clean, group, layer, wanted)
            first = joins[layer].first_query
            mid = clean.mid[layer][group.prompts, span][:, first:]
            change = joins[layer].change({kind: v[joined:] for kind, v in patched.items()})
            torch.add(change, mid, out=rows[joined:total, :, first:])
            joined = total
        if layer == s.n_layers - 1:
            last = rows[:joined, :, -1].contiguous()
            add_mlp_(decoder, layer, last.view(-1, s.d_model))
            return last
        add_mlp_(decoder, layer, rows[:joined].view(-1, s.d_model))
    raise AssertionError("a layer loop always ends in the last layer")


def receiver_paths(
    decoder: Decoder,
    clean: CleanRun,
    group: SuffixGroup,
    receivers: Receivers,
    values: ReceiverValues,
    senders: Senders,
    max_rows: int,
) -> Iterator[tuple[Tensor, Float[Tensor, "sender prompt d_model"]]]:
    """Places and final residual streams at the last token, a block of the senders at a time.

    All senders must lie below the last receiver. At most `max_rows` tokens (sender x prompt x suffix token) are
    held at once, but at least one sender's.
    """
    step = max(1, max_rows // (len(group.prompts) * group.n_pos))
    joins: dict[int, JoinLayer] = {}
    for block in senders.split(step):
        yield block.places, _run_block(decoder, clean, group, receivers, values, joins, block)
