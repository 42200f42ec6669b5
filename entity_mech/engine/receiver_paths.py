"""Pass 2 of path patching: the clean prompt with only the receivers' inputs patched, read at the last token.

Nothing before the patched token changes, and nothing below a row's first receiver layer: only the suffix of
tokens runs, from that layer up, against the clean prefix's keys and values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entity_mech.engine.block import attention_out, close_, project, row_block, turned
from entity_mech.engine.clean import CleanRun
from entity_mech.engine.direct_paths import ReceiverValues
from entity_mech.engine.join import JoinLayer, SuffixGroup
from entity_mech.engine.memory import slices
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


def _run_attention(
    decoder: Decoder,
    clean: CleanRun,
    group: SuffixGroup,
    layer: int,
    block: Float[Tensor, "sender prompt n_pos d_model"],
    patched: dict[str, Tensor],
    wanted: dict[str, list[int]],
) -> Float[Tensor, "sender prompt n_query d_model"]:
    """Attention's output on rows that joined below a layer; receivers keep their pass-1 inputs.

    Of every token, or in the last layer of the last token only.
    """
    n_pos, first = block.shape[2], group.first_query(decoder, layer)
    span = slice(group.start, group.last + 1)
    prefix = (clean.k[layer][group.prompts, :, : group.start], clean.v[layer][group.prompts, :, : group.start])
    q, k, v = project(decoder, layer, block, (lambda x: x[:, :, first:]) if first else None)
    for kind, tensor in (("q", q), ("k", k), ("v", v)):
        if kind in patched and not (kind == "q" and first):
            tensor[:, :, 0, wanted[kind]] = patched[kind]
    q = turned(decoder, layer, q, slice(group.start + first, group.start + n_pos))
    k = turned(decoder, layer, k, span)
    return attention_out(decoder, layer, suffix_attention(decoder, layer, q, k, v, prefix))


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
    step = max(1, row_block(decoder) // (shape[1] * shape[2]))
    joined = 0
    for layer in range(receivers.next_above(int(index[0]) // s.n_heads), s.n_layers):
        wanted = receivers.layers.get(layer, {})
        total = below[layer - 1] if wanted else joined
        patched = {kind: values[layer, kind][places[:total, None], group.prompts[None]] for kind in wanted}
        first = group.first_query(decoder, layer)
        final = layer == s.n_layers - 1
        outs = []
        for at in slices(joined, step):
            part = {kind: v[at] for kind, v in patched.items()}
            outs.append(_run_attention(decoder, clean, group, layer, rows[at], part, wanted))
            if not final:
                close_(decoder, layer, rows[at], (slice(None), outs.pop()))
        if total > joined:
            if layer not in joins:
                joins[layer] = JoinLayer(decoder, clean, group, layer, wanted)
            joining = rows[joined:total]
            joining[:] = clean.pre[layer][group.prompts, span]
            out = joins[layer].change({kind: v[joined:] for kind, v in patched.items()})
            out += clean.attn_out[layer][group.prompts, span][:, first:]
            if final:
                outs.append(out)
            else:
                close_(decoder, layer, joining, (slice(None), out))
            joined = total
        if final:
            last = rows[:joined, :, -1].contiguous()
            close_(decoder, layer, last, (slice(None), torch.cat(outs)[:, :, -1]))
            return last
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
