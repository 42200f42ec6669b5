"""Gemma 3 (text): Gemma 2 with norms of q and k, no caps by default, a rotary table of windowed layers' own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from entity_mech.models.families.family import FULL, GELU_TANH, WINDOWED, Block, Family, Sizes
from entity_mech.models.families.gemma2 import GEMMA_LAYOUT, gemma_block


def _block(config: Mapping[str, Any], sizes: Sizes) -> Block:
    pattern = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 6
    block = gemma_block(config, sizes, int(pattern), qk_norm="head")
    return replace(block, rotary=tuple(FULL if window is None else WINDOWED for window in block.windows))


FAMILY = Family(
    name="Gemma 3 (text)",
    architecture="Gemma3ForCausalLM",
    model_type="gemma3_text",
    differs="Gemma 2 with norms of each head's q and k, no caps by default, two rotary tables",
    block=_block,
    layout=replace(GEMMA_LAYOUT, q_norm="self_attn.q_norm", k_norm="self_attn.k_norm"),
    keys={"activation": "hidden_activation"},
    defaults={
        "tie_word_embeddings": True,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131072,
        "vocab_size": 262208,
    },
    activations=GELU_TANH,
    # The model's code passes no cap on scores, whatever the config says.
    computed={"use_bidirectional_attention": (None, False), "attn_logit_softcapping": (None,)},
)
