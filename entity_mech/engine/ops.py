"""The pieces of a decoder layer, as plain functions on `Decoder` weights.

Norms and softmax of 16-bit tensors are accumulated in float32.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from entity_mech.engine.packed import linear, linear_blocks
from entity_mech.models.decoder import Decoder

# About so many rows a matrix product keep a CPU's caches busy without spilling them; a GPU takes more.
CPU_ROWS = 1024
GPU_ROWS = 16384
VOCAB_BLOCK = 4096


def row_block(decoder: Decoder) -> int:
    """How many rows one matrix product should hold on this device."""
    return CPU_ROWS if decoder.device.type == "cpu" else GPU_ROWS


def rms_norm(x: Float[Tensor, "*rows d_model"], weight: Tensor, eps: float) -> Float[Tensor, "*rows d_model"]:
    """Root-mean-square norm over the last axis."""
    if x.dtype in (torch.float16, torch.bfloat16):
        wide = x.float()
        return (wide * _inverse_size(wide, eps)).to(x.dtype) * weight
    normed = x * _inverse_size(x, eps)
    return normed * weight if torch.is_grad_enabled() else normed.mul_(weight)


def _inverse_size(x: Float[Tensor, "*rows d_model"], eps: float) -> Float[Tensor, "*rows 1"]:
    """1 / sqrt(mean square + eps); without gradients no table of squares is made."""
    if torch.is_grad_enabled():
        return torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    size: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return size.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


def rotate(x: Float[Tensor, "*rows d_head"], cos: Tensor, sin: Tensor) -> Float[Tensor, "*rows d_head"]:
    """Rotary position embedding; cos and sin broadcast against x."""
    half = x.shape[-1] // 2
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return out


def split_qkv(decoder: Decoder, layer: int, x: Float[Tensor, "*rows d_model"]) -> tuple[Tensor, Tensor, Tensor]:
    """Unrotated q [*rows, head, d_head], k and v [*rows, kv_head, d_head] of a residual stream."""
    s, w = decoder.shape, decoder.layers[layer]
    packed = linear(rms_norm(x, w.norm_attn, s.norm_eps), w.qkv, w.qkv_bias)
    q, k, v = packed.unflatten(-1, (-1, s.d_head)).split([s.n_heads, s.n_kv_heads, s.n_kv_heads], -2)
    return q, k, v


def split_qkv_of_end(
    decoder: Decoder, layer: int, x: Float[Tensor, "*rows n_pos d_model"], n_query: int
) -> tuple[Tensor, Tensor, Tensor]:
    """As `split_qkv`, with queries of the last n_query positions only."""
    if n_query == x.shape[-2]:
        return split_qkv(decoder, layer, x)
    s, w = decoder.shape, decoder.layers[layer]
    queries, others = slice(s.n_heads * s.d_head), slice(s.n_heads * s.d_head, None)
    normed = rms_norm(x, w.norm_attn, s.norm_eps)
    q = linear(normed[..., -n_query:, :], w.qkv, w.qkv_bias, queries).unflatten(-1, (-1, s.d_head))
    k, v = linear(normed, w.qkv, w.qkv_bias, others).unflatten(-1, (-1, s.d_head)).chunk(2, -2)
    return q, k, v


def head_inputs(
    decoder: Decoder, layer: int, kind: str, heads: list[int], x: Float[Tensor, "*rows d_model"]
) -> Float[Tensor, "*rows n_heads d_head"]:
    """Unrotated q, k or v of chosen heads only (key/value heads for k and v)."""
    s, w = decoder.shape, decoder.layers[layer]
    weight, bias = decoder.rows(layer, kind, heads)
    made: Tensor = F.linear(rms_norm(x, w.norm_attn, s.norm_eps), weight, bias).unflatten(-1, (-1, s.d_head))
    return made


def mlp(decoder: Decoder, layer: int, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
    """What the layer's MLP adds to the residual stream `x`."""
    w = decoder.layers[layer]
    normed = rms_norm(x, w.norm_mlp, decoder.shape.norm_eps)
    gate, up = linear(normed, w.gate_up, w.gate_up_bias).chunk(2, -1)
    if torch.is_grad_enabled():
        return linear(F.silu(gate) * up, w.down, w.down_bias)
    return linear(F.silu(gate).mul_(up), w.down, w.down_bias)


def add_mlp_(decoder: Decoder, layer: int, x: Float[Tensor, "rows d_model"]) -> None:
    """x += mlp(x) in place, a cache-sized block of rows at a time."""
    step = row_block(decoder)
    for block in x.split(step):
        block += mlp(decoder, layer, block)


def causal_attention(
    decoder: Decoder,
    q: Float[Tensor, "prompt head pos d_head"],
    k: Float[Tensor, "prompt kv_head pos d_head"],
    v: Float[Tensor, "prompt kv_head pos d_head"],
) -> Float[Tensor, "prompt head pos d_head"]:
    """Head outputs of whole prompts under the causal mask; q and k are rotated."""
    return F.scaled_dot_product_attention(
        q, k, v, is_causal=True, enable_gqa=decoder.shape.group > 1, scale=decoder.scale
    )


def logits(decoder: Decoder, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows vocab"]:
    """Logits over the whole vocabulary of a final residual stream."""
    return linear(rms_norm(x, decoder.norm_final, decoder.shape.norm_eps), decoder.unembedding)


def predictions(decoder: Decoder, x: Float[Tensor, "*rows d_model"]) -> Int[Tensor, "*rows"]:
    """Most likely next token of a final residual stream, a block of rows at a time."""
    flat = x.reshape(-1, x.shape[-1])
    best = [logits(decoder, block).argmax(-1) for block in flat.split(row_block(decoder))]
    return torch.cat(best).view(x.shape[:-1])


def token_logits(
    decoder: Decoder, x: Float[Tensor, "rows d_model"], tokens: Int[Tensor, "rows ..."]
) -> Float[Tensor, "rows ..."]:
    """Logits of given tokens only: nothing else is unembedded."""
    normed = rms_norm(x, decoder.norm_final, decoder.shape.norm_eps)
    directions = decoder.unembedding[tokens]
    return (directions * normed.view(normed.shape[0], *[1] * (tokens.ndim - 1), -1)).sum(-1)


def answer_probability(
    decoder: Decoder, x: Float[Tensor, "rows d_model"], answer: Int[Tensor, " rows"]
) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    """Softmax probability and logit of one token a row, over the whole vocabulary.

    p = 1 / sum over words of exp(logit - the token's logit): a sum that overflows belongs to a p below what
    the type can hold, and no maximum is needed. It is accumulated over blocks of the vocabulary, so no
    [rows, vocab] table is kept. Returned in float32, or float64 for a float64 model.
    """
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    probability, answer_logit = [], []
    step = row_block(decoder) // 2
    for rows, target in zip(x.split(step), answer.split(step), strict=True):
        normed = rms_norm(rows, decoder.norm_final, decoder.shape.norm_eps)
        chosen = (normed * decoder.unembedding[target]).sum(-1, dtype=wide)
        total = torch.zeros_like(chosen)
        for words in linear_blocks(normed, decoder.unembedding, VOCAB_BLOCK):
            total += words.to(wide).sub_(chosen[:, None]).exp_().sum(-1)
        probability.append(total.reciprocal())
        answer_logit.append(chosen)
    return torch.cat(probability), torch.cat(answer_logit)
