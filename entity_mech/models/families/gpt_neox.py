"""GPT-NeoX (Pythia): LayerNorm, attention and MLP side by side or one after the other, fused q, k, v, biases."""

from collections.abc import Mapping
from typing import Any

from entity_mech.models.families.family import FUNCTIONS, GELU, GELU_TANH, Block, Family, Layout, Sizes, plain_block


def _block(config: Mapping[str, Any], sizes: Sizes) -> Block:
    biased = bool(config.get("attention_bias", True))
    return plain_block(
        config,
        sizes,
        norm="layer",
        parallel=bool(config.get("use_parallel_residual", True)),
        activation=FUNCTIONS.get(config.get("hidden_act", "gelu"), "gelu"),
        gated=False,
        qkv_bias=biased,
        out_bias=biased,
        mlp_bias=True,
    )


FAMILY = Family(
    name="GPT-NeoX",
    architecture="GPTNeoXForCausalLM",
    model_type="gpt_neox",
    differs="Pythia's: LayerNorm; parallel or sequential; rotary embedding on part of a head; plain MLP; biases",
    block=_block,
    layout=Layout(
        layer="gpt_neox.layers.{}.",
        qkv=("attention.query_key_value",),
        out="attention.dense",
        up=("mlp.dense_h_to_4h",),
        down="mlp.dense_4h_to_h",
        embedding="gpt_neox.embed_in",
        norm_final="gpt_neox.final_layer_norm",
        norm_attn="input_layernorm",
        norm_mlp="post_attention_layernorm",
        interleaved=True,
        other_names={"lm_head.": "embed_out."},
        ignored=("rotary_emb.inv_freq", "attention.bias", "attention.masked_bias"),
    ),
    keys={"norm_eps": "layer_norm_eps", "n_kv_heads": "", "d_head": ""},
    defaults={"layer_norm_eps": 1e-5, "hidden_act": "gelu"},
    activations=GELU + GELU_TANH,
    partial_rotary=True,
    rotary_buffer="gpt_neox.rotary_emb",
)
