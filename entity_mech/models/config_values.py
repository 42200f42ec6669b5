"""What the keys of a model's config.json and an adapter's adapter_config.json may hold, whatever the family.

A family's own file then says which of the values the engine computes. Standard library only. A key that is missing or
null passes: a family says what it needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from entity_mech.errors import shown


@dataclass(frozen=True)
class Kind:
    """Whether a value will do, and what should be there."""

    holds: Callable[[Any], bool]
    words: str


def _count(low: int, high: int) -> Kind:
    return Kind(
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
        f"a whole number from {low:,} to {high:,}",
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30


def _number(above: float) -> Kind:
    words = "a number" if above == -math.inf else f"a number above {above:g}"
    return Kind(lambda value: _is_number(value) and value > above, words)


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_TEXT = Kind(lambda value: isinstance(value, str), "text")
_FLAG = Kind(lambda value: isinstance(value, bool), "true or false")
_MAPPING = Kind(lambda value: isinstance(value, Mapping), "keys with values")
_TEXTS = Kind(_is_list_of_text, "a list of text")
_TEXT_OR_TEXTS = Kind(lambda value: isinstance(value, str) or _is_list_of_text(value), "text or a list of text")

MODEL_KEYS: dict[str, Kind] = {
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers"), _count(1, 10_000)),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_head"), _count(1, 10_000)),
    **dict.fromkeys(("head_dim", "num_local_experts", "num_experts", "num_experts_per_tok"), _count(1, 100_000)),
    **dict.fromkeys(
        ("hidden_size", "n_embd", "intermediate_size", "n_inner", "moe_intermediate_size"), _count(1, 10**7)
    ),
    **dict.fromkeys(
        ("vocab_size", "max_position_embeddings", "n_positions", "n_ctx", "sliding_window"), _count(1, 10**7)
    ),
    **dict.fromkeys(("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "rope_theta"), _number(0.0)),
    **dict.fromkeys(("rope_local_base_freq", "rotary_emb_base", "query_pre_attn_scalar"), _number(0.0)),
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping"), _number(0.0)),
    **dict.fromkeys(("partial_rotary_factor", "rotary_pct", "initializer_range"), _number(-math.inf)),
    **dict.fromkeys(("tie_word_embeddings", "attention_bias", "mlp_bias", "use_sliding_window"), _FLAG),
    **dict.fromkeys(("use_parallel_residual", "scale_attn_weights", "norm_topk_prob"), _FLAG),
    **dict.fromkeys(("rope_scaling", "rope_parameters", "quantization_config", "auto_map"), _MAPPING),
    **dict.fromkeys(("hidden_act", "activation_function", "hidden_activation", "model_type"), _TEXT),
    **dict.fromkeys(("dtype", "torch_dtype"), _TEXT),
    **dict.fromkeys(("architectures", "layer_types"), _TEXTS),
}
ADAPTER_KEYS: dict[str, Kind] = {
    **dict.fromkeys(("peft_type", "task_type", "base_model_name_or_path", "bias"), _TEXT),
    "r": _count(1, 100_000),
    **dict.fromkeys(("lora_alpha", "lora_dropout"), _number(-math.inf)),
    **dict.fromkeys(("target_modules", "exclude_modules"), _TEXT_OR_TEXTS),
    "modules_to_save": _TEXTS,
    **dict.fromkeys(("rank_pattern", "alpha_pattern"), _MAPPING),
}
_ROTARY = ("rope_scaling", "rope_parameters")


def value_problems(config: Mapping[str, Any], keys: Mapping[str, Kind], file: str) -> list[str]:
    """One sentence for each key of a file whose value cannot be used; empty when there is none."""
    return [f"{file}: {problem}" for problem in _problems(config, keys)]


def _problems(config: Mapping[str, Any], keys: Mapping[str, Kind]) -> Iterator[str]:
    for key, kind in keys.items():
        value = config.get(key)
        if value is not None and not kind.holds(value):
            yield f"{key} is {shown(value)}; it should be {kind.words}"
        elif key in _ROTARY and value:
            yield from _rotary_problems(key, value)


def _rotary_problems(where: str, values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong inside the options of a rotary embedding, which may be one set or one for each kind of layer."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _rotary_problems(f"{where}.{key}", value)
        elif key in ("rope_type", "type"):
            if not isinstance(value, str):
                yield f"{where}.{key} is {shown(value)}; it should be text"
        elif not (value is None or isinstance(value, bool) or _is_number(value) or isinstance(value, list)):
            yield f"{where}.{key} is {shown(value)}; it should be a number"
