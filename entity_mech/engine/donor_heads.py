"""Heads of another model on this model's clean inputs: their weights are the donor's, all that comes before is not.

The input of a layer's heads is the residual stream, so the norm before attention is part of what the donor gives.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entity_mech.engine.ops import causal_attention, rotate, split_qkv
from entity_mech.models.decoder import Decoder


def heads_only(decoder: Decoder) -> Decoder:
    """A decoder that keeps the weights of its heads and lets go of all others: about a third of the memory."""
    none = decoder.embedding.new_zeros(0)
    layers = tuple(
        replace(weights, gate_up=none, gate_up_bias=None, down=none, down_bias=None) for weights in decoder.layers
    )
    return replace(decoder, layers=layers, embedding=none, unembedding=none)


def outputs_on(
    donor: Decoder, layer: int, stream: Float[Tensor, "prompt pos d_model"]
) -> Float[Tensor, "prompt pos head d_head"]:
    """Outputs of the donor's heads in a layer, given a residual stream before that layer (another model's)."""
    stream = stream.to(donor.device, donor.dtype)
    cos, sin = (table[: stream.shape[1], None] for table in (donor.rotary_cos, donor.rotary_sin))
    q, k, v = split_qkv(donor, layer, stream)
    turned = (rotate(q, cos, sin), rotate(k, cos, sin), v)
    return causal_attention(donor, *(x.transpose(1, 2) for x in turned)).transpose(1, 2)


def chosen_outputs_on(
    donor: Decoder,
    streams: Sequence[Tensor],
    heads: Sequence[tuple[int, int]],
    positions: Int[Tensor, "prompt n_heads"],
) -> Float[Tensor, "prompt n_heads d_head"]:
    """Outputs of some heads (layer, head) of the donor, each at its own token of every prompt.

    streams: the residual stream before each layer [prompt, pos, d_model], of another model's clean run. A layer
    that none of the heads is in is not run.
    """
    found = positions.new_empty(*positions.shape, donor.shape.d_head, dtype=donor.dtype)
    rows = torch.arange(len(positions), device=positions.device)[:, None]
    for layer in dict.fromkeys(layer for layer, _ in heads):
        index = [i for i, (at, _) in enumerate(heads) if at == layer]
        z = outputs_on(donor, layer, streams[layer]).to(positions.device)
        which = torch.tensor([heads[i][1] for i in index], device=positions.device)
        found[:, index] = z[rows, positions[:, index], which]
    return found
