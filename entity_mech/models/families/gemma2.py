"""Gemma 2: norms before and after both branches, scaled embedding, caps, a window in every other layer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from entity_mech.models.families.family import (
    FULL,
    GELU_TANH,
    LLAMA_LAYOUT,
    WINDOWED,
    Block,
    Family,
    Sizes,
    plain_block,
    windows_of,
)

GEMMA_LAYOUT = replace(
    LLAMA_LAYOUT,
    norm_attn_out="post_attention_layernorm",
    norm_mlp="pre_feedforward_layernorm",
    norm_mlp_out="post_feedforward_layernorm",
)


def gemma_block(config: Mapping[str, Any], sizes: Sizes, pattern: int, **more: Any) -> Block:
    """What Gemma 2 and Gemma 3 share; each `pattern`-th layer sees all tokens, where the config lists no kinds."""
    kinds = config.get("layer_types") or [WINDOWED if (i + 1) % pattern else FULL for i in range(sizes.n_layers)]
    biased = bool(config.get("attention_bias", False))
    return plain_block(
        config,
        sizes,
        scale=float(config["query_pre_attn_scalar"]) ** -0.5,
        windows=windows_of(kinds, config.get("sliding_window")),
        unit_offset=True,
        activation="gelu_tanh",
        qkv_bias=biased,
        out_bias=biased,
        score_cap=config.get("attn_logit_softcapping"),
        logit_cap=config.get("final_logit_softcapping"),
        embed_scale=sizes.d_model**0.5,
        **more,
    )


def _block(config: Mapping[str, Any], sizes: Sizes) -> Block:
    return gemma_block(config, sizes, 2)


FAMILY = Family(
    name="Gemma 2",
    architecture="Gemma2ForCausalLM",
    model_type="gemma2",
    differs="norms before and after both branches; scaled embedding; GELU; caps on scores and logits; windows",
    block=_block,
    layout=GEMMA_LAYOUT,
    keys={"activation": "hidden_activation"},
    defaults={
        "tie_word_embeddings": True,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192,
    },
    activations=GELU_TANH,
    computed={"use_bidirectional_attention": (None, False)},
)
