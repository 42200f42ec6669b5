"""Qwen2 and Qwen2.5: Llama with biases on q, k and v only; a window from a layer up, when it is switched on."""

from collections.abc import Mapping
from typing import Any

from entity_mech.models.families.family import FULL, WINDOWED, Block, Family, Sizes, plain_block, windows_of


def qwen_windows(config: Mapping[str, Any], sizes: Sizes) -> tuple[int | None, ...]:
    """Each layer's window: none unless it is switched on, then from `max_window_layers` up."""
    window = config.get("sliding_window") if config.get("use_sliding_window") else None
    first = int(config.get("max_window_layers") or 0)
    kinds = config.get("layer_types") or [WINDOWED if i >= first else FULL for i in range(sizes.n_layers)]
    return windows_of(kinds, window)


def _block(config: Mapping[str, Any], sizes: Sizes) -> Block:
    return plain_block(config, sizes, qkv_bias=True, windows=qwen_windows(config, sizes))


FAMILY = Family(
    name="Qwen2",
    architecture="Qwen2ForCausalLM",
    model_type="qwen2",
    differs="biases on q, k and v only; a window from a layer up, when it is switched on",
    block=_block,
    defaults={
        "num_key_value_heads": 32,
        "sliding_window": 4096,
        "max_window_layers": 28,
        "max_position_embeddings": 32768,
    },
)
