"""Qwen3-MoE: Qwen3 whose MLPs are experts, of which a router gives each token some."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from entity_mech.models.families.family import Block, Family, Sizes, plain_block
from entity_mech.models.families.qwen3 import QWEN3_LAYOUT


def _block(config: Mapping[str, Any], sizes: Sizes) -> Block:
    biased = bool(config.get("attention_bias", False))
    window = config.get("sliding_window") if config.get("use_sliding_window") else None
    return plain_block(
        config,
        sizes,
        qk_norm="head",
        qkv_bias=biased,
        out_bias=biased,
        windows=(window,) * sizes.n_layers,
        experts=int(config.get("num_experts") or config["num_local_experts"]),
        experts_per_token=int(config["num_experts_per_tok"]),
        experts_sum_to_one=bool(config["norm_topk_prob"]),
    )


FAMILY = Family(
    name="Qwen3-MoE",
    architecture="Qwen3MoeForCausalLM",
    model_type="qwen3_moe",
    differs="Qwen3 whose MLPs are experts; `mode: refined` is refused",
    block=_block,
    layout=replace(
        QWEN3_LAYOUT, router="mlp.gate", experts="mlp.experts.{}.", up=("gate_proj", "up_proj"), down="down_proj"
    ),
    keys={"d_mlp": "moe_intermediate_size"},
    defaults={
        "num_key_value_heads": 4,
        "moe_intermediate_size": 768,
        "num_local_experts": 128,
        "num_experts_per_tok": 8,
        "norm_topk_prob": False,
        "sliding_window": 4096,
        "max_position_embeddings": 32768,
    },
    computed={"decoder_sparse_step": (1,), "mlp_only_layers": (None, [])},
)
