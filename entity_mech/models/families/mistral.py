"""Mistral: Llama without biases, with a window over the tokens unless it is null."""

from collections.abc import Mapping
from typing import Any

from entity_mech.models.families.family import Block, Family, Sizes, plain_block


def _block(config: Mapping[str, Any], sizes: Sizes) -> Block:
    return plain_block(config, sizes, windows=(config.get("sliding_window"),) * sizes.n_layers)


FAMILY = Family(
    name="Mistral",
    architecture="MistralForCausalLM",
    model_type="mistral",
    differs="a window over the tokens, unless it is null",
    block=_block,
    defaults={"sliding_window": 4096, "num_key_value_heads": 8, "max_position_embeddings": 131072},
)
