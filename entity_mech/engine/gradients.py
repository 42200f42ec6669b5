"""Pieces of a layer with hand-written backward passes, for training through a frozen model.

Weights have no gradients, so nothing is kept for them, and the backward passes reuse their buffers: about half
the memory traffic of automatic differentiation. Without gradients these are the plain functions of `ops`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from entity_mech.engine.ops import add_mlp_, rms_norm, rotate
from entity_mech.engine.packed import linear, linear_back
from entity_mech.models.decoder import Decoder


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        scale = torch.rsqrt(torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_() / x.shape[-1] + eps)
        ctx.save_for_backward(wide, scale, weight)
        return (wide * scale).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        wide, scale, weight = ctx.saved_tensors
        towards = (grads[0] * weight).to(wide.dtype)
        along = (towards * wide).sum(-1, keepdim=True)
        along.mul_(scale.pow(3)).div_(-wide.shape[-1])
        return towards.mul_(scale).addcmul_(wide, along).to(grads[0].dtype), None, None


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


class _Mlp(torch.autograd.Function):
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


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return rotate(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return rotate(grads[0], cos, -sin), None, None


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


def normed(x: Float[Tensor, "*rows d_model"], weight: Tensor, eps: float) -> Float[Tensor, "*rows d_model"]:
    """Root-mean-square norm."""
    return _Norm.apply(x, weight, eps) if torch.is_grad_enabled() else rms_norm(x, weight, eps)  # type: ignore[no-untyped-call]


def rotated(x: Float[Tensor, "*rows d_head"], cos: Tensor, sin: Tensor) -> Float[Tensor, "*rows d_head"]:
    """Rotary position embedding."""
    return _Rotate.apply(x, cos, sin) if torch.is_grad_enabled() else rotate(x, cos, sin)  # type: ignore[no-untyped-call]


def add_mlp(decoder: Decoder, layer: int, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
    """x + mlp(x); without gradients `x` itself is changed, a block of rows at a time."""
    if not torch.is_grad_enabled():
        add_mlp_(decoder, layer, x.view(-1, x.shape[-1]))
        return x
    w = decoder.layers[layer]
    normal = normed(x, w.norm_mlp, decoder.shape.norm_eps)
    return x + _Mlp.apply(normal, w.gate_up, w.gate_up_bias, w.down, w.down_bias)  # type: ignore[no-any-return,no-untyped-call]
