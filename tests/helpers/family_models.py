"""Tiny random models of every supported family, with the options that make them differ."""

import torch
import transformers
from transformers import PreTrainedModel

SMALL = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.3,
    "use_cache": False,
}
GROUPED = {"num_key_value_heads": 2}
KINDS = ["sliding_attention", "full_attention", "sliding_attention"]
GEMMA = {**GROUPED, "head_dim": 12, "query_pre_attn_scalar": 10, "sliding_window": 5, "layer_types": KINDS}
TIED = {"tie_word_embeddings": True}
MIXED = {"num_local_experts": 4, "num_experts_per_tok": 2}
# name -> (prefix of the transformers classes, options)
VARIANTS = {
    "qwen2": ("Qwen2", GROUPED),
    "qwen2, windows": (
        "Qwen2",
        {
            **GROUPED,
            "use_sliding_window": True,
            "sliding_window": 5,
            "max_window_layers": 1,
            "tie_word_embeddings": True,
        },
    ),
    "qwen3": ("Qwen3", {**GROUPED, "head_dim": 12}),
    "qwen3, biases": ("Qwen3", {**GROUPED, "head_dim": 8, "attention_bias": True, **TIED}),
    "mistral": ("Mistral", {**GROUPED, "head_dim": 12, "sliding_window": 5}),
    "mistral, no window": ("Mistral", {"num_key_value_heads": 1, "sliding_window": None}),
    "gpt_neox": ("GPTNeoX", {}),
    "gpt_neox, sequential": ("GPTNeoX", {"use_parallel_residual": False, "rotary_pct": 0.5, "attention_bias": False}),
    "gpt2": ("GPT2", {}),
    "gemma2": ("Gemma2", {**GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    "gemma3": ("Gemma3", GEMMA),
    "phi3": ("Phi3", {**GROUPED, "partial_rotary_factor": 0.5, "sliding_window": 6}),
    "olmo2": ("Olmo2", GROUPED),
    "mixtral": ("Mixtral", {**GROUPED, **MIXED, "sliding_window": 6}),
    "qwen3_moe": (
        "Qwen3Moe",
        {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "head_dim": 12},
    ),
}
GPT2_NAMES = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
    "intermediate_size": "n_inner",
}
CLASSES = {"GPT2": ("GPT2Config", "GPT2LMHeadModel"), "Gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM")}


def family_model(variant: str, seed: int = 0, **more) -> PreTrainedModel:
    """Random weights, large enough in scale that attention is not uniform. Eager attention: it knows caps."""
    prefix, options = VARIANTS[variant]
    config_name, model_name = CLASSES.get(prefix, (f"{prefix}Config", f"{prefix}ForCausalLM"))
    given = {**SMALL, **options, **more}
    if prefix == "GPT2":
        given = {GPT2_NAMES.get(key, key): value for key, value in given.items()}
    torch.manual_seed(seed)
    config = getattr(transformers, config_name)(**given, attn_implementation="eager")
    model = getattr(transformers, model_name)(config).eval()
    if prefix in ("Mixtral", "Qwen3Moe"):
        model.set_experts_implementation("eager")  # the others have no float64
    middle = 0.0 if prefix.startswith("Gemma") else 1.0  # Gemma's norms are stored less 1
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.2)
            elif "norm" in name or ".ln_" in name:
                parameter.uniform_(middle - 0.5, middle + 0.5)
            elif (prefix == "GPT2" and parameter.ndim == 2) or "experts" in name or "gate.weight" in name:
                parameter.normal_(0, 0.3)
    return model.requires_grad_(False)
