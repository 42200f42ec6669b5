"""Qwen3: Llama with an RMS norm of each head's q and k; a window as in Qwen2."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from entity_mech.models.families.family import LLAMA_LAYOUT, Block, Family, Sizes, plain_block
from entity_mech.models.families.qwen2 import qwen_windows

QWEN3_LAYOUT = replace(LLAMA_LAYOUT, q_norm="self_attn.q_norm", k_norm="self_attn.k_norm")
QWEN3_DEFAULTS = {"num_key_value_heads": 32, "head_dim": 128, "sliding_window": 4096, "max_window_layers": 28}


def _block(config: Mapping[str, Any], sizes: Sizes) -> Block:
    biased = bool(config.get("attention_bias", False))
    windows = qwen_windows(config, sizes)
    return plain_block(config, sizes, qk_norm="head", windows=windows, qkv_bias=biased, out_bias=biased)


FAMILY = Family(
    name="Qwen3",
    architecture="Qwen3ForCausalLM",
    model_type="qwen3",
    differs="an RMS norm of each head's q and k; a window as in Qwen2",
    block=_block,
    layout=QWEN3_LAYOUT,
    defaults={**QWEN3_DEFAULTS, "max_position_embeddings": 32768},
)
