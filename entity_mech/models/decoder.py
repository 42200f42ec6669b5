"""The weights of a decoder, laid out for the intervention engine whatever their family.

Shape legend, used everywhere: prompt, pos, layer, head, kv_head, d_head, d_model, d_mlp, vocab.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entity_mech.models.families.family import Block, Sizes


@dataclass(frozen=True)
class Norm:
    """Weights of a norm over the last axis: root mean square, or with a bias a LayerNorm.

    Weights wider than the stream make 16-bit norms round once, at their end.
    """

    weight: Tensor
    eps: float
    bias: Tensor | None = None


@dataclass(frozen=True)
class RotaryTable:
    """Rotary embedding of the first dimensions of a head, as many as the table has."""

    cos: Tensor  # [max_position, rotated dimensions]
    sin: Tensor


@dataclass(frozen=True)
class Experts:
    """MLPs of which a router gives each token some."""

    router: Tensor  # [expert, d_model]
    up: Tensor  # [expert, 2 * d_mlp, d_model]: gate, up
    down: Tensor  # [expert, d_model, d_mlp]


@dataclass(frozen=True)
class LayerWeights:
    """One layer. Linear weights are stored [out, in] as torch.nn.Linear has them; what a family lacks is None.

    up holds gate and up where the MLP is gated, else up alone; with experts, up and down are empty.
    """

    qkv: Tensor  # [(head + 2 kv_head) * d_head, d_model]: queries, keys, values
    out: Tensor  # [d_model, head * d_head]
    out_by_head: Tensor  # [head, d_head, d_model]: what each head's output adds to the output projection's result
    up: Tensor  # [2 * d_mlp or d_mlp, d_model]
    down: Tensor  # [d_model, d_mlp]
    qkv_bias: Tensor | None = None
    out_bias: Tensor | None = None
    up_bias: Tensor | None = None
    down_bias: Tensor | None = None
    norm_attn: Norm | None = None
    norm_attn_out: Norm | None = None
    norm_mlp: Norm | None = None
    norm_mlp_out: Norm | None = None
    q_norm: Norm | None = None  # over d_head, or over all heads
    k_norm: Norm | None = None
    rotary: RotaryTable | None = None
    experts: Experts | None = None


@dataclass(frozen=True)
class Decoder:
    """A decoder ready to run: weights, rotary tables and what its blocks compute, on one device in one dtype."""

    shape: Sizes
    block: Block
    layers: tuple[LayerWeights, ...]
    embedding: Tensor  # [vocab, d_model]
    norm_final: Norm
    unembedding: Tensor  # [vocab, d_model]
    positions: Tensor | None = None  # [max_position, d_model], added to the embedding
    name: str = "model"

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.dtype

    @property
    def additive(self) -> bool:
        """Whether attention adds to the residual stream the sum of what each head adds: no norm stands between."""
        return all(w.norm_attn_out is None for w in self.layers)
