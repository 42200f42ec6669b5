"""Pass 1 of path patching: a sender's effect through the residual stream and the MLPs alone.

All attention is frozen to the clean run, so the change lives at one token: rows are (sender, prompt), and a
sender joins as the layer loop reaches it. One matrix product at layer k holds all senders at or below k.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from entity_mech.engine.block import before_attention, chosen_heads, close_, packed_index, row_block
from entity_mech.engine.receivers import INPUTS, Receivers
from entity_mech.engine.search_batch import SearchBatch
from entity_mech.models.decoder import Decoder

# (layer, input) -> [sender, prompt, heads of that input, d_head], before rotation, senders below that layer
ReceiverValues = Mapping[tuple[int, str], Tensor]


def _read_inputs(
    decoder: Decoder, layer: int, wanted: dict[str, list[int]], rows: Float[Tensor, "sender prompt d_model"]
) -> dict[tuple[int, str], Tensor]:
    """The receivers' inputs in one layer, from the rows of all senders below it."""
    kinds = [kind for kind in INPUTS if kind in wanted]
    packed = [index for kind in kinds for index in packed_index(decoder, kind, wanted[kind])]
    make, w = chosen_heads(decoder, layer, packed), decoder.layers[layer]
    made = [make(before_attention(w, block)) for block in rows.flatten(0, 1).split(row_block(decoder))]
    values = torch.cat(made).view(*rows.shape[:2], -1, decoder.shape.d_head)
    sizes = [len(wanted[kind]) for kind in kinds]
    return {(layer, kind): v for kind, v in zip(kinds, values.split(sizes, 2), strict=True)}


def direct_paths(
    decoder: Decoder,
    batch: SearchBatch,
    corrupted: Float[Tensor, "prompt layer head d_head"],
    receivers: Receivers | None,
    layers: Sequence[int] | None = None,
) -> tuple[Float[Tensor, "sender prompt d_model"], ReceiverValues]:
    """Replace each sender's output at its token by its corrupted one and follow residual stream and MLPs.

    Senders are all heads, or those of some layers (ascending), layer by layer. Without receivers (the logits)
    all run to the end and their final residual streams are returned; with receivers the run stops at the last one,
    and the receivers' inputs are returned for every sender below each (method, section 4, pass 1). The
    clean run needs pre, z and attn_out.
    """
    s = decoder.shape
    clean, pos = batch.clean, batch.pos
    index = torch.arange(len(pos), device=pos.device)
    stop = s.n_layers if receivers is None else receivers.last
    wanted = {} if receivers is None else receivers.layers
    sending = {layer for layer in (range(stop) if layers is None else layers) if layer < stop}
    rows = torch.empty(len(sending) * s.n_heads, len(pos), s.d_model, dtype=decoder.dtype, device=decoder.device)
    values: dict[tuple[int, str], Tensor] = {}
    n = 0
    for layer in range(stop):
        if n and layer in wanted:
            values |= _read_inputs(decoder, layer, wanted[layer], rows[:n])
        frozen = clean.attn_out[layer][index, pos]
        outs = [(slice(n), frozen)]
        if layer in sending:
            change = corrupted[:, layer] - clean.z[layer][index, pos]
            joining = slice(n, n + s.n_heads)
            rows[joining] = clean.pre[layer][index, pos]
            outs.append((joining, frozen + change.transpose(0, 1) @ decoder.layers[layer].out_by_head))
            n += s.n_heads
        if n:
            close_(decoder, layer, rows[:n], *outs)
    if n and stop in wanted:
        values |= _read_inputs(decoder, stop, wanted[stop], rows)
    return rows, values
