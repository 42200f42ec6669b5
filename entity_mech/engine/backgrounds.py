"""The tokens that are the same for every circuit of a batch: their keys and values, layer by layer.

In a mean-ablated run every head at every token gives its mean output, except a circuit's own heads at their role
tokens; MLPs run. So the stream of every other token depends on its token id and position only: each distinct
pair is computed once and serves all prompts and all circuits.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entity_mech.engine.block import attention_out, close_, embed, project, turned
from entity_mech.models.decoder import Decoder


@dataclass(frozen=True)
class Background:
    """Keys (rotated) and values of distinct streams, per layer, and which stream every token is.

    mean_out: what the output projection makes of the mean outputs of all heads, per layer.
    """

    ids: Int[Tensor, "prompt pos"]
    stream: Int[Tensor, "prompt pos"]
    keys: list[Tensor]  # [stream, kv_head, d_head]
    values: list[Tensor]
    means: Float[Tensor, "pos layer head d_head"]
    mean_out: list[Tensor]  # [pos, d_model]


@torch.inference_mode()
def prepare_ablated(
    decoder: Decoder,
    ids: Int[Tensor, "prompt pos"],
    length: Int[Tensor, " prompt"],
    means: Float[Tensor, "mean_pos layer head d_head"],
) -> Background:
    """Every token with all its heads at their means.

    Args:
        ids: token ids, right-padded; length: their number.
        means: mean head outputs (before the output projection) by position.

    Raises ValueError when a prompt is longer than `means`.
    """
    s = decoder.shape
    n_pos = ids.shape[1]
    if n_pos > means.shape[0]:
        raise ValueError(f"prompts of {n_pos} tokens, mean head outputs for {means.shape[0]} positions only")
    means = means[:n_pos].to(decoder.device, decoder.dtype)
    mean_out = [attention_out(decoder, layer, means[:, layer]) for layer in range(s.n_layers)]
    pos = torch.arange(n_pos, device=ids.device)
    real = pos < length[:, None]
    code = torch.where(real, ids * n_pos + pos, ids[:1, :1] * n_pos)  # padding: any real stream will do
    distinct, stream = torch.unique(code, return_inverse=True)
    at = distinct % n_pos
    x = embed(decoder, distinct // n_pos, at)
    keys, values = [], []
    for layer in range(s.n_layers):
        _, k, v = project(decoder, layer, x, lambda x: x[:0])  # no query is asked for
        keys.append(turned(decoder, layer, k, at))
        values.append(v.contiguous())
        close_(decoder, layer, x, (slice(None), mean_out[layer][at]))
    return Background(ids, stream, keys, values, means, mean_out)
