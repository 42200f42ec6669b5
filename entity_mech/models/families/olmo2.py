"""OLMo 2: norms after both branches and none before; an RMS norm of all heads' q together, and of all k."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from entity_mech.models.families.family import LLAMA_LAYOUT, Block, Family, Sizes, plain_block


def _block(config: Mapping[str, Any], sizes: Sizes) -> Block:
    biased = bool(config.get("attention_bias", False))
    return plain_block(config, sizes, qk_norm="width", qkv_bias=biased, out_bias=biased)


FAMILY = Family(
    name="OLMo 2",
    architecture="Olmo2ForCausalLM",
    model_type="olmo2",
    differs="norms after both branches and none before; one norm over all heads' q, and one over all k",
    block=_block,
    layout=replace(
        LLAMA_LAYOUT,
        norm_attn="",
        norm_attn_out="post_attention_layernorm",
        norm_mlp="",
        norm_mlp_out="post_feedforward_layernorm",
        q_norm="self_attn.q_norm",
        k_norm="self_attn.k_norm",
    ),
    defaults={"rms_norm_eps": 1e-5},
)
