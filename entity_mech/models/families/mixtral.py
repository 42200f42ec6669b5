"""Mixtral: Mistral whose MLPs are experts, of which a router gives each token some."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from entity_mech.models.families.family import LLAMA_LAYOUT, Block, Family, Sizes, plain_block


def _block(config: Mapping[str, Any], sizes: Sizes) -> Block:
    return plain_block(
        config,
        sizes,
        windows=(config.get("sliding_window"),) * sizes.n_layers,
        experts=int(config["num_local_experts"]),
        experts_per_token=int(config["num_experts_per_tok"]),
    )


FAMILY = Family(
    name="Mixtral",
    architecture="MixtralForCausalLM",
    model_type="mixtral",
    differs="Mistral whose MLPs are experts; `mode: refined` is refused",
    block=_block,
    layout=replace(
        LLAMA_LAYOUT,
        up=("w1", "w3"),
        down="w2",
        router="block_sparse_moe.gate",
        experts="block_sparse_moe.experts.{}.",
    ),
    defaults={
        "num_key_value_heads": 8,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 131072,
    },
)
