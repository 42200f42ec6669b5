"""Norms, linear maps, rotary embedding and MLPs on a frozen model's weights, differentiable where gradients are on.

Weights have no gradients, so nothing is kept for them, and the hand-written backward passes reuse their buffers:
about half the memory traffic of automatic differentiation. Norms of 16-bit tensors are accumulated in float32.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from entity_mech.engine.packed import linear, linear_back
from entity_mech.models.decoder import Decoder, Experts, Norm, RotaryTable

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}


def normed(x: Float[Tensor, "*rows width"], norm: Norm) -> Float[Tensor, "*rows width"]:
    """Root-mean-square norm over the last axis, or LayerNorm where the norm has a bias."""
    if norm.bias is not None:
        return F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)
    if torch.is_grad_enabled():
        return _Norm.apply(x, norm.weight, norm.eps)  # type: ignore[no-untyped-call,no-any-return]
    if x.dtype in (torch.float16, torch.bfloat16):
        wide = x.float()
        return ((wide * _inverse_size(wide, norm.eps)).to(norm.weight.dtype) * norm.weight).to(x.dtype)
    return (x * _inverse_size(x, norm.eps)).mul_(norm.weight)


def _inverse_size(x: Float[Tensor, "*rows width"], eps: float) -> Float[Tensor, "*rows 1"]:
    """1 / sqrt(mean square + eps); no table of squares is made."""
    size: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return size.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        scale = _inverse_size(wide, eps)
        ctx.save_for_backward(wide, scale, weight)
        return (wide * scale).to(weight.dtype).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        wide, scale, weight = ctx.saved_tensors
        towards = (grads[0] * weight).to(wide.dtype)
        along = (towards * wide).sum(-1, keepdim=True)
        along.mul_(scale.pow(3)).div_(-wide.shape[-1])
        return towards.mul_(scale).addcmul_(wide, along).to(grads[0].dtype), None, None


def projected(
    x: Float[Tensor, "*rows d_in"],
    weight: Float[Tensor, "d_out d_in"],
    bias: Float[Tensor, " d_out"] | None = None,
    rows: slice = slice(None),
) -> Float[Tensor, "*rows d_part"]:
    """x @ weight.T + bias, for `rows` of the weight (its outputs)."""
    if not torch.is_grad_enabled():
        return linear(x, weight, bias, rows)
    return _Linear.apply(x, weight, bias, rows)  # type: ignore[no-untyped-call,no-any-return]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, rows: slice) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.rows = rows
        return linear(x, weight, bias, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return linear_back(grads[0], weight, ctx.rows), None, None, None


def rotated(
    x: Float[Tensor, "*rows d_head"], table: RotaryTable | None, at: slice | int | Tensor
) -> Float[Tensor, "*rows d_head"]:
    """Rotary position embedding of heads [*rows, head, d_head] that stand at positions `at`, an axis of the rows.

    A family without rotary embedding has no table.
    """
    if table is None:
        return x
    cos, sin = table.cos[at, None], table.sin[at, None]
    return _Rotate.apply(x, cos, sin) if torch.is_grad_enabled() else _rotate(x, cos, sin)  # type: ignore[no-untyped-call]


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Dimensions beyond the table's are left as they are."""
    width, half = cos.shape[-1], cos.shape[-1] // 2
    if width < x.shape[-1]:
        return torch.cat((_rotate(x[..., :width], cos, sin), x[..., width:]), -1)
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return out


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _rotate(grads[0], cos, -sin), None, None


def mlp(decoder: Decoder, layer: int, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
    """What a layer's MLP adds to the residual stream that it reads, its norms included."""
    w = decoder.layers[layer]
    read = x if w.norm_mlp is None else normed(x, w.norm_mlp)
    if w.experts is not None:
        made = _mixture(decoder, w.experts, read)
    elif torch.is_grad_enabled() and decoder.block.gated and decoder.block.activation == "silu":
        made = _GatedSilu.apply(read, w.up, w.up_bias, w.down, w.down_bias)  # type: ignore[no-untyped-call]
    else:
        made = projected(_activated(decoder, projected(read, w.up, w.up_bias)), w.down, w.down_bias)
    return made if w.norm_mlp_out is None else normed(made, w.norm_mlp_out)


def _activated(decoder: Decoder, up: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows d_mlp"]:
    """The MLP's activation of gate and up, or of up alone."""
    activation = ACTIVATIONS[decoder.block.activation]
    if not decoder.block.gated:
        return activation(up)
    gate, up = up.chunk(2, -1)
    return activation(gate) * up if torch.is_grad_enabled() else activation(gate).mul_(up)


class _GatedSilu(torch.autograd.Function):
    """Gate, up and down projections of a normed stream."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gate_up: Tensor, gate_up_bias: Tensor | None, down: Tensor, down_bias: Tensor | None
    ) -> Tensor:
        both = linear(x, gate_up, gate_up_bias)
        ctx.save_for_backward(both, gate_up, down)
        gate, up = both.chunk(2, -1)
        return linear(F.silu(gate).mul_(up), down, down_bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        both, gate_up, down = ctx.saved_tensors
        gate, up = both.chunk(2, -1)
        inner = linear_back(grads[0], down)
        towards = torch.empty_like(both)
        to_gate, to_up = towards.chunk(2, -1)
        torch.mul(inner, F.silu(gate), out=to_up)
        torch.ops.aten.silu_backward.grad_input(inner.mul_(up), gate, grad_input=to_gate)
        return linear_back(towards, gate_up), None, None, None, None


def _mixture(decoder: Decoder, experts: Experts, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
    """The MLPs of the experts that the router gives each token, weighted as it says. One expert after the other."""
    rows = x.reshape(-1, x.shape[-1])
    wide = torch.promote_types(x.dtype, torch.float32)
    share, chosen = F.linear(rows, experts.router).softmax(-1, dtype=wide).topk(decoder.block.experts_per_token)
    if decoder.block.experts_sum_to_one:
        share = share / share.sum(-1, keepdim=True)
    made = torch.zeros_like(rows)
    for expert in chosen.unique().tolist():
        row, place = torch.where(chosen == expert)
        inner = _activated(decoder, F.linear(rows[row], experts.up[expert]))
        given = F.linear(inner, experts.down[expert]) * share[row, place, None].to(x.dtype)
        made = made.index_add(0, row, given)
    return made.view(x.shape)
