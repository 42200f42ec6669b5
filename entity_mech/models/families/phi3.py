"""Phi 3: Llama with fused q, k, v and fused gate and up; rotary embedding on part of a head; a window."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from entity_mech.models.families.family import LLAMA_LAYOUT, Block, Family, Sizes, plain_block


def _block(config: Mapping[str, Any], sizes: Sizes) -> Block:
    return plain_block(config, sizes, windows=(config.get("sliding_window"),) * sizes.n_layers)


FAMILY = Family(
    name="Phi 3",
    architecture="Phi3ForCausalLM",
    model_type="phi3",
    differs="fused q, k, v and gate, up; rotary embedding on part of a head; a window; `longrope` is refused",
    block=_block,
    layout=replace(LLAMA_LAYOUT, qkv=("self_attn.qkv_proj",), up=("mlp.gate_up_proj",)),
    defaults={"rms_norm_eps": 1e-5, "max_position_embeddings": 4096},
    rotary_types=("default",),
    partial_rotary=True,
    brings_code=True,
)
