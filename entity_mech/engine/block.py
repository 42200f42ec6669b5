"""One description of a decoder block, from which every loop of the engine is made.

embed -> for each layer: project -> attention (scores and their window) -> attention_out -> close -> readout. Heads'
outputs are z; `attention_out` is what the output projection makes of all of them, before any norm that stands after
attention, so that it is the sum of the heads' shares in every family. `close` does the rest of the layer.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entity_mech.engine.operations import mlp, normed, projected, rotated
from entity_mech.models.decoder import Decoder, LayerWeights, Norm

# About so many rows a matrix product keep a CPU's caches busy without spilling them; a GPU takes more.
CPU_ROWS = 1024
GPU_ROWS = 16384


def row_block(decoder: Decoder) -> int:
    """How many rows one matrix product should hold on this device."""
    return CPU_ROWS if decoder.device.type == "cpu" else GPU_ROWS


def embed(decoder: Decoder, ids: Int[Tensor, "..."], at: slice | Tensor) -> Float[Tensor, "... d_model"]:
    """The residual stream before the first layer, of tokens at positions `at`."""
    x = decoder.embedding[ids]
    if decoder.block.embed_scale != 1:  # rounded as the model's own code rounds it
        x = x * torch.tensor(decoder.block.embed_scale, dtype=torch.float32).to(x)
    return x if decoder.positions is None else x + decoder.positions[at]


def project(
    decoder: Decoder, layer: int, x: Float[Tensor, "*rows d_model"], asking: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """q [*asking, head, d_head], k and v [*rows, kv_head, d_head] of a residual stream, before rotation.

    They are what receivers read and are given: after the family's norms of q and k. asking: picks the rows that
    need queries (None: all).
    """
    s, w = decoder.shape, decoder.layers[layer]
    read = before_attention(w, x)
    if asking is None:
        return _projected_heads(decoder, w, read)
    queries, others = slice(s.n_heads * s.d_head), slice(s.n_heads * s.d_head, None)
    q = projected(asking(read), w.qkv, w.qkv_bias, queries).unflatten(-1, (-1, s.d_head))
    k, v = projected(read, w.qkv, w.qkv_bias, others).unflatten(-1, (-1, s.d_head)).chunk(2, -2)
    return _head_normed(decoder, q, w.q_norm), _head_normed(decoder, k, w.k_norm), v


def _projected_heads(decoder: Decoder, w: LayerWeights, read: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v of all heads, from what the projections read."""
    s = decoder.shape
    packed = projected(read, w.qkv, w.qkv_bias).unflatten(-1, (-1, s.d_head))
    q, k, v = packed.split([s.n_heads, s.n_kv_heads, s.n_kv_heads], -2)
    return _head_normed(decoder, q, w.q_norm), _head_normed(decoder, k, w.k_norm), v


def before_attention(w: LayerWeights, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
    """What the projections read."""
    return x if w.norm_attn is None else normed(x, w.norm_attn)


def _head_normed(decoder: Decoder, x: Float[Tensor, "*rows heads d_head"], norm: Norm | None) -> Tensor:
    """The family's norm of q or k, of each head or of all heads together."""
    if norm is None:
        return x
    if decoder.block.qk_norm == "width":
        return normed(x.flatten(-2), norm).view(x.shape)
    return normed(x, norm)


def chosen_heads(
    decoder: Decoder, layer: int, packed: Sequence[int]
) -> Callable[[Float[Tensor, "*rows d_model"]], Float[Tensor, "*rows chosen d_head"]]:
    """Makes q, k and v of chosen heads only, as `project` gives them, from what `before_attention` gives.

    packed: queries are 0 to n_heads - 1, then come the keys, then the values; in ascending order.
    """
    s, w = decoder.shape, decoder.layers[layer]
    if decoder.block.qk_norm == "width":  # a head's norm takes all heads
        chosen = list(packed)
        return lambda read: torch.cat(_projected_heads(decoder, w, read), -2)[..., chosen, :]
    weight = w.qkv.view(-1, s.d_head, s.d_model)[list(packed)].flatten(0, 1)
    bias = None if w.qkv_bias is None else w.qkv_bias.view(-1, s.d_head)[list(packed)].flatten()
    n_query = sum(head < s.n_heads for head in packed)
    n_key = sum(head < s.n_heads + s.n_kv_heads for head in packed) - n_query

    def make(read: Tensor) -> Tensor:
        made: Tensor = F.linear(read, weight, bias).unflatten(-1, (-1, s.d_head))
        if w.q_norm is None:
            return made
        q, k, v = made.split([n_query, n_key, len(packed) - n_query - n_key], -2)
        return torch.cat((_head_normed(decoder, q, w.q_norm), _head_normed(decoder, k, w.k_norm), v), -2)

    return make


def packed_index(decoder: Decoder, kind: str, heads: Sequence[int]) -> list[int]:
    """Where q, k or v heads are among all projections of a layer."""
    s = decoder.shape
    first = {"q": 0, "k": s.n_heads, "v": s.n_heads + s.n_kv_heads}[kind]
    return [first + head for head in heads]


def turned(decoder: Decoder, layer: int, x: Float[Tensor, "*rows heads d_head"], at: slice | int | Tensor) -> Tensor:
    """Queries or keys at positions `at`, rotated as the layer does."""
    return rotated(x, decoder.layers[layer].rotary, at)


def capped(scores: Float[Tensor, "..."], cap: float | None) -> Float[Tensor, "..."]:
    """cap * tanh(scores / cap), where there is a cap."""
    return scores if cap is None else (scores / cap).tanh() * cap


def beyond_window(decoder: Decoder, layer: int, distance: Int[Tensor, "..."]) -> Bool[Tensor, "..."] | None:
    """Which keys are too far before their queries for the layer to see; None where it sees all that far."""
    window = decoder.block.windows[layer]
    return None if window is None else distance >= window


def causal_attention(
    decoder: Decoder,
    layer: int,
    q: Float[Tensor, "prompt head pos d_head"],
    k: Float[Tensor, "prompt kv_head pos d_head"],
    v: Float[Tensor, "prompt kv_head pos d_head"],
) -> Float[Tensor, "prompt head pos d_head"]:
    """Head outputs of whole prompts; q and k are rotated."""
    block, grouped = decoder.block, decoder.shape.group > 1
    window, n_pos = block.windows[layer], q.shape[2]
    if block.score_cap is None and (window is None or window >= n_pos):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped, scale=block.scale)
    pos = torch.arange(n_pos, device=q.device)
    distance = pos[:, None] - pos
    hidden = distance < 0
    far = beyond_window(decoder, layer, distance)
    hidden = hidden if far is None else hidden | far
    if block.score_cap is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=~hidden, enable_gqa=grouped, scale=block.scale)
    k, v = (x.repeat_interleave(decoder.shape.group, 1) for x in (k, v))
    scores = capped((q * block.scale) @ k.transpose(-1, -2), block.score_cap).masked_fill(hidden, -torch.inf)
    return pattern_of(scores) @ v


def pattern_of(scores: Float[Tensor, "... keys"]) -> Float[Tensor, "... keys"]:
    """Softmax of attention scores, accumulated in float32 where they have 16 bits."""
    wide = torch.promote_types(scores.dtype, torch.float32)
    return scores.softmax(-1, dtype=wide).to(scores.dtype)


def attention_out(
    decoder: Decoder, layer: int, z: Float[Tensor, "*rows head d_head"]
) -> Float[Tensor, "*rows d_model"]:
    """The output projection of all heads' outputs, before any norm after attention."""
    w = decoder.layers[layer]
    return projected(z.flatten(-2), w.out, w.out_bias)


def attention_add(
    decoder: Decoder, layer: int, out: Float[Tensor, "*rows d_model"]
) -> Float[Tensor, "*rows d_model"]:
    """What attention adds to the residual stream, from what `attention_out` gives."""
    norm = decoder.layers[layer].norm_attn_out
    return out if norm is None else normed(out, norm)


def close(
    decoder: Decoder, layer: int, before: Float[Tensor, "*shared d_model"], out: Float[Tensor, "*rows d_model"]
) -> Float[Tensor, "*rows d_model"]:
    """The residual stream after a layer, from the stream before it and from `attention_out` (they broadcast)."""
    add = attention_add(decoder, layer, out)
    if torch.is_grad_enabled():
        middle = before + add
        return middle + mlp(decoder, layer, before if decoder.block.parallel else middle)
    if decoder.block.parallel:
        x = before.clone(memory_format=torch.contiguous_format)
        _add_mlp_(decoder, layer, x)
        return x + add
    x = (before + add).contiguous()
    _add_mlp_(decoder, layer, x)
    return x


def close_(decoder: Decoder, layer: int, x: Float[Tensor, "*rows d_model"], *outs: tuple[slice, Tensor]) -> None:
    """`close` in place and without gradients.

    outs: results of the output projection, each for some rows of x's first axis, against which it broadcasts; between
    them for all rows.
    """
    adds = [(x[rows], attention_add(decoder, layer, out)) for rows, out in outs]
    if decoder.block.parallel:
        _add_mlp_(decoder, layer, x)
    for rows, add in adds:
        rows += add
    if not decoder.block.parallel:
        _add_mlp_(decoder, layer, x)


def _add_mlp_(decoder: Decoder, layer: int, x: Float[Tensor, "*rows d_model"]) -> None:
    """x += mlp(x) in place, a cache-sized block of rows at a time."""
    for rows in x.view(-1, x.shape[-1]).split(row_block(decoder)):
        rows += mlp(decoder, layer, rows)
