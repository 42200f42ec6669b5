"""GPT-2: LayerNorm, learned positions, fused q, k, v, plain MLP; linear weights lie as [in, out]."""

from collections.abc import Mapping
from typing import Any

from entity_mech.models.families.family import FUNCTIONS, GELU, GELU_TANH, Block, Family, Layout, Sizes, plain_block


def _block(config: Mapping[str, Any], sizes: Sizes) -> Block:
    return plain_block(
        config,
        sizes,
        scale=sizes.d_head**-0.5 if config.get("scale_attn_weights", True) else 1.0,
        rotary=(None,) * sizes.n_layers,
        norm="layer",
        activation=FUNCTIONS.get(config.get("activation_function", "gelu_new"), "gelu_tanh"),
        gated=False,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
    )


FAMILY = Family(
    name="GPT-2",
    architecture="GPT2LMHeadModel",
    model_type="gpt2",
    differs="LayerNorm; learned positions; plain MLP; biases; linear weights lie transposed",
    block=_block,
    layout=Layout(
        layer="transformer.h.{}.",
        qkv=("attn.c_attn",),
        out="attn.c_proj",
        up=("mlp.c_fc",),
        down="mlp.c_proj",
        embedding="transformer.wte",
        positions="transformer.wpe",
        norm_final="transformer.ln_f",
        norm_attn="ln_1",
        norm_mlp="ln_2",
        transposed=True,
        ignored=("attn.bias", "attn.masked_bias"),
    ),
    keys={
        "n_layers": "n_layer",
        "n_heads": "n_head",
        "d_model": "n_embd",
        "n_kv_heads": "",
        "d_head": "",
        "d_mlp": "n_inner",
        "max_position": "n_positions",
        "norm_eps": "layer_norm_epsilon",
        "activation": "activation_function",
    },
    defaults={
        "tie_word_embeddings": True,
        "n_positions": 1024,
        "n_inner": None,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
    },
    activations=GELU + GELU_TANH,
    computed={"add_cross_attention": (False,), "scale_attn_by_inverse_layer_idx": (False,)},
    rotary_types=(),
)
