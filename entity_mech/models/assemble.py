"""A decoder made of a model's stored tensors, which lie where its family says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from entity_mech.models.decoder import Decoder, Experts, LayerWeights, Norm, RotaryTable
from entity_mech.models.families.family import Description

Rotaries = Mapping[str, Mapping[str, Any]]  # kind of layer -> inv_freq [rotated dimensions / 2], attention_scaling


@dataclass(frozen=True)
class _Reader:
    """Reads a model's tensors by its family's names, on a device and in a dtype."""

    described: Description
    get: Callable[[str], Tensor]
    device: torch.device | str
    dtype: torch.dtype

    def load(self, name: str) -> Tensor:
        return self.get(name).to(device=self.device, dtype=self.dtype)

    def norm(self, name: str) -> Norm | None:
        """A norm, None for no name. Gemma's weights are stored less 1."""
        if not name:
            return None
        block, sizes = self.described.block, self.described.sizes
        if block.norm == "layer":
            return Norm(self.load(f"{name}.weight"), sizes.norm_eps, self.load(f"{name}.bias"))
        if not block.unit_offset:
            return Norm(self.load(f"{name}.weight"), sizes.norm_eps)
        wide = torch.promote_types(self.dtype, torch.float32)
        return Norm(1 + self.get(f"{name}.weight").to(self.device, wide), sizes.norm_eps)

    def linear(self, names: list[str], biased: bool) -> tuple[Tensor, Tensor | None]:
        """Some linear maps of one input as one, [out, in], and their biases."""
        weights = [self.load(f"{name}.weight") for name in names]
        if self.described.family.layout.transposed:
            weights = [weight.T for weight in weights]
        weight = torch.cat(weights).contiguous()
        return weight, torch.cat([self.load(f"{name}.bias") for name in names]) if biased else None

    def qkv(self, layer: int) -> tuple[Tensor, Tensor | None]:
        """Queries of all heads, then keys, then values, however they are stored."""
        names, s = self.described.family.layout, self.described.sizes
        whole = [names.prefixed(layer, name) for name in names.qkv]
        weight, bias = self.linear(whole, self.described.block.qkv_bias)
        if names.interleaved:  # q, k, v of the first head, of the second, ...
            weight = weight.view(s.n_heads, 3, s.d_head, s.d_model).transpose(0, 1).reshape(-1, s.d_model)
            bias = bias if bias is None else bias.view(s.n_heads, 3, s.d_head).transpose(0, 1).flatten()
        return weight, bias

    def experts(self, layer: int) -> Experts | None:
        names = self.described.family.layout
        if not names.experts:
            return None
        found: dict[str, list[Tensor]] = {"up": [], "down": []}
        for prefix in self.described.expert_prefixes():
            whole = names.prefixed(layer, prefix)
            found["up"].append(self.linear([whole + name for name in names.up], False)[0])
            found["down"].append(self.linear([whole + names.down], False)[0])
        router = self.load(f"{names.prefixed(layer, names.router)}.weight")
        return Experts(router, torch.stack(found["up"]), torch.stack(found["down"]))

    def mlp(self, layer: int) -> dict[str, Any]:
        names, biased = self.described.family.layout, self.described.block.mlp_bias
        experts = self.experts(layer)
        if experts is not None:
            nothing = experts.router.new_empty(0, self.described.sizes.d_model)
            return {"up": nothing, "down": nothing.T, "experts": experts}
        up, up_bias = self.linear([names.prefixed(layer, name) for name in names.up], biased)
        down, down_bias = self.linear([names.prefixed(layer, names.down)], biased)
        return {"up": up, "up_bias": up_bias, "down": down, "down_bias": down_bias}

    def layer(self, i: int, rotary: RotaryTable | None) -> LayerWeights:
        names, s = self.described.family.layout, self.described.sizes
        qkv, qkv_bias = self.qkv(i)
        out, out_bias = self.linear([names.prefixed(i, names.out)], self.described.block.out_bias)
        norms: dict[str, Any] = {
            part: self.norm(getattr(names, part) and names.prefixed(i, getattr(names, part)))
            for part in ("norm_attn", "norm_attn_out", "norm_mlp", "norm_mlp_out", "q_norm", "k_norm")
        }
        return LayerWeights(
            qkv=qkv,
            qkv_bias=qkv_bias,
            out=out,
            out_bias=out_bias,
            out_by_head=out.view(s.d_model, s.n_heads, s.d_head).permute(1, 2, 0).contiguous(),
            rotary=rotary,
            **norms,
            **self.mlp(i),
        )


def rotary_table(
    rotary: Mapping[str, Any], max_position: int, device: torch.device | str, dtype: torch.dtype
) -> RotaryTable:
    """Cosines and sines of all positions. The angles are made in float32 whatever the dtype, as transformers does."""
    freq = torch.tensor(rotary["inv_freq"], dtype=torch.float32)
    angle = torch.outer(torch.arange(max_position, dtype=torch.float32), freq)
    angle = torch.cat((angle, angle), -1)
    scaling = rotary["attention_scaling"]
    cos, sin = ((wave * scaling).to(device=device, dtype=dtype) for wave in (angle.cos(), angle.sin()))
    return RotaryTable(cos, sin)


def assemble(
    described: Description,
    get: Callable[[str], Tensor],
    rotaries: Rotaries,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    name: str = "model",
) -> Decoder:
    """A decoder on a device and in a dtype.

    get: a stored tensor by its name in `described.tensors()`. rotaries: the frequencies of each kind of layer, as
    transformers makes them.
    """
    s, names = described.sizes, described.family.layout
    reader = _Reader(described, get, device, dtype)
    tables = {kind: rotary_table(rotary, s.max_position, device, dtype) for kind, rotary in rotaries.items()}
    embedding = reader.load(f"{names.embedding}.weight")
    norm_final = reader.norm(names.norm_final)
    assert norm_final is not None
    return Decoder(
        shape=s,
        block=described.block,
        layers=tuple(
            reader.layer(i, tables[kind] if kind else None) for i, kind in enumerate(described.block.rotary)
        ),
        embedding=embedding,
        norm_final=norm_final,
        unembedding=embedding if s.tied else reader.load(f"{names.unembedding}.weight"),
        positions=reader.load(f"{names.positions}.weight") if names.positions else None,
        name=name,
    )
