"""Llama: RMS norms before both branches, rotary embedding over the whole head, gated MLP with SiLU."""

from collections.abc import Mapping
from typing import Any

from entity_mech.models.families.family import Block, Family, Sizes, plain_block


def _block(config: Mapping[str, Any], sizes: Sizes) -> Block:
    biased = bool(config.get("attention_bias", False))
    return plain_block(config, sizes, qkv_bias=biased, out_bias=biased, mlp_bias=bool(config.get("mlp_bias", False)))


FAMILY = Family(
    name="Llama",
    architecture="LlamaForCausalLM",
    model_type="llama",
    differs="nothing: RMS norms, rotary embedding, gated MLP; biases where the config says so",
    block=_block,
    computed={"pretraining_tp": (1, None)},
)
