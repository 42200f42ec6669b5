"""The Llama architecture as its config.json describes it: sizes, tensors, and what is refused.

Standard library only, so that a model can be checked before any job runs. A model proves the rest when it is
prepared: the engine's logits must equal its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ARCHITECTURE = "LlamaForCausalLM"
DTYPES = ("float32", "float64", "bfloat16", "float16")  # what a model can be run in
ACTIVATIONS = ("silu", "swish")  # two names of one function
# Rotary types whose frequencies are the same at every length of prompt.
ROTARY_TYPES = ("default", "linear", "llama3", "yarn")
_REQUIRED = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "vocab_size",
)


@dataclass(frozen=True)
class LlamaSizes:
    """Sizes and switches of a Llama-architecture decoder, from its config.json."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    d_mlp: int
    vocab: int
    max_position: int
    norm_eps: float
    tied: bool
    attention_bias: bool
    mlp_bias: bool

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> LlamaSizes:
        """Read a config.json; keys that may be absent have the defaults that transformers gives them."""
        heads, d_model = int(config["num_attention_heads"]), int(config["hidden_size"])
        return LlamaSizes(
            n_layers=int(config["num_hidden_layers"]),
            n_heads=heads,
            n_kv_heads=int(config.get("num_key_value_heads") or heads),
            d_head=int(config.get("head_dim") or d_model // heads),
            d_model=d_model,
            d_mlp=int(config["intermediate_size"]),
            vocab=int(config["vocab_size"]),
            max_position=int(config.get("max_position_embeddings") or 2048),
            norm_eps=float(config.get("rms_norm_eps") or 1e-6),
            tied=bool(config.get("tie_word_embeddings", False)),
            attention_bias=bool(config.get("attention_bias", False)),
            mlp_bias=bool(config.get("mlp_bias", False)),
        )

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight. A tied model has `model.embed_tokens.weight` and no
        `lm_head.weight`."""
        q, kv = self.n_heads * self.d_head, self.n_kv_heads * self.d_head
        linear = {
            "self_attn.q_proj": (q, self.d_model, self.attention_bias),
            "self_attn.k_proj": (kv, self.d_model, self.attention_bias),
            "self_attn.v_proj": (kv, self.d_model, self.attention_bias),
            "self_attn.o_proj": (self.d_model, q, self.attention_bias),
            "mlp.gate_proj": (self.d_mlp, self.d_model, self.mlp_bias),
            "mlp.up_proj": (self.d_mlp, self.d_model, self.mlp_bias),
            "mlp.down_proj": (self.d_model, self.d_mlp, self.mlp_bias),
        }
        shapes: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocab, self.d_model),
            "model.norm.weight": (self.d_model,),
        }
        if not self.tied:
            shapes["lm_head.weight"] = (self.vocab, self.d_model)
        for i in range(self.n_layers):
            for norm in ("input_layernorm", "post_attention_layernorm"):
                shapes[f"model.layers.{i}.{norm}.weight"] = (self.d_model,)
            for name, (n_out, n_in, biased) in linear.items():
                shapes[f"model.layers.{i}.{name}.weight"] = (n_out, n_in)
                if biased:
                    shapes[f"model.layers.{i}.{name}.bias"] = (n_out,)
        return shapes

    def parameters(self) -> int:
        """How many numbers the weights hold."""
        return sum(math.prod(shape) for shape in self.tensors().values())

    def memory(self) -> dict[str, int]:
        """Bytes that the weights alone take, by the dtype they are run in."""
        return {"float32": 4 * self.parameters(), "bfloat16": 2 * self.parameters()}


def config_problems(config: Mapping[str, Any], *, trust_remote_code: bool = False) -> list[str]:
    """Everything in a config.json that the engine does not compute, each by its key's name; empty when it
    can."""
    architectures = config.get("architectures") or []
    named = ", ".join(map(str, architectures)) or f"model_type {config.get('model_type')!r}"
    if architectures != [ARCHITECTURE] and not (not architectures and config.get("model_type") == "llama"):
        return [f"its architecture is {named}; only {ARCHITECTURE} is supported"]
    missing = [key for key in _REQUIRED if not isinstance(config.get(key), int)]
    if missing:
        return [f"config.json: no whole number under {', '.join(missing)}"]
    problems = []
    if config.get("hidden_act", "silu") not in ACTIVATIONS:
        problems.append(f"hidden_act is {config['hidden_act']!r}; only 'silu' is supported")
    if config.get("pretraining_tp") not in (None, 1):
        problems.append(
            f"pretraining_tp is {config['pretraining_tp']}; only 1 is supported (it merely splits sums: set it to 1)"
        )
    if config.get("quantization_config"):
        method = dict(config["quantization_config"]).get("quant_method", "unknown method")
        problems.append(f"quantization_config ({method}): quantized weights are not supported, use the full ones")
    if config.get("auto_map") and not trust_remote_code:
        problems.append("auto_map: the model brings its own code; set trust_remote_code: true for it to be run")
    sizes = LlamaSizes.from_config(config)
    if sizes.n_heads % sizes.n_kv_heads:
        problems.append(
            f"num_attention_heads {sizes.n_heads} is no multiple of num_key_value_heads {sizes.n_kv_heads}"
        )
    return problems + _rotary_problems(config)


def _rotary_problems(config: Mapping[str, Any]) -> list[str]:
    problems = []
    for key in ("rope_parameters", "rope_scaling"):
        rotary = config.get(key) or {}
        kind = rotary.get("rope_type", rotary.get("type", "default"))
        if kind not in ROTARY_TYPES:
            problems.append(f"{key}: type {kind!r} is not supported, only {', '.join(ROTARY_TYPES)} are")
        if rotary.get("partial_rotary_factor") not in (None, 1, 1.0):
            problems.append(
                f"{key}: partial_rotary_factor {rotary['partial_rotary_factor']} is not supported, only 1 is"
            )
    if config.get("partial_rotary_factor") not in (None, 1, 1.0):
        problems.append(f"partial_rotary_factor is {config['partial_rotary_factor']}; only 1 is supported")
    return problems


def size_differences(sizes: LlamaSizes, other: LlamaSizes) -> list[str]:
    """Sizes in which two models differ so that their heads cannot be exchanged ("n_heads 32 and 40").

    The vocabulary may differ (fine-tunes add padding tokens), and so may the number of positions.
    """
    keys = ("n_layers", "n_heads", "n_kv_heads", "d_head", "d_model", "d_mlp")
    pairs = ((key, getattr(sizes, key), getattr(other, key)) for key in keys)
    return [f"{key} {mine} and {theirs}" for key, mine, theirs in pairs if mine != theirs]
