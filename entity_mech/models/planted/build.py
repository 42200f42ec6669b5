"""Planted models as folders: config.json, weights, tokenizer, and the truth about them in wiring.json."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from entity_mech.files import write_json
from entity_mech.models.demo.vocabulary import BOS, EOS, LABELS, PAD, build_tokenizer, objects, vocabulary
from entity_mech.models.planted.circuit import ROLES, TASTE, planted_heads
from entity_mech.models.planted.codes import object_codes
from entity_mech.models.planted.distractors import distract
from entity_mech.models.planted.heads import D_HEAD, THETA, HeadWeights, wire
from entity_mech.models.planted.stream import CONST, D_MODEL, OBJECT_CODE, SEGMENTS, block
from entity_mech.models.planted.variants import COUNTER, HEADS, LAYERS, NEGATIVE, Variant

WIRING = "wiring.json"
LOGIT = 8.0  # of an object that `out` names fully
_D_MLP = 32
_STEEP = 4000.0  # slope of the steps by which the MLP tells counts apart
_READERS = ("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate_proj.weight", "up_proj.weight", "lm_head.weight")
# Seeds, one a purpose.
_CODES, _TASTE, _DISTRACTORS, _NOISE = 1, 2, 3, 4


def write_variant(variant: Variant, folder: Path) -> None:
    """Write a model's folder, over what is there."""
    build_model(variant).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    write_json(folder / WIRING, describe(variant))


@torch.no_grad()
def build_model(variant: Variant) -> LlamaForCausalLM:
    """The model of a variant, float32. The same variant gives the same weights."""
    model = _empty_model(variant.kv_heads)
    with torch.enable_grad():
        codes = object_codes(len(objects()), _CODES)
    _write_words(model, codes)
    if variant.pointer == "ordinal":
        _write_ordinals(model.model.layers[0].mlp)
    _write_heads(model, variant, _taste(codes))
    if variant.noise:
        _add_noise(model, variant.noise)
    return model


def describe(variant: Variant) -> dict[str, Any]:
    """The truth about a variant: its groups, other heads with a purpose, and what was weakened and repaired."""
    groups = {
        letter: {
            "name": role.name,
            "token": role.token,
            "heads": [list(place) for place in variant.heads(letter)],
            "shares": list(variant.heads(letter).values()),
            "looks_at": role.looks_at,
            "reads": variant.pointer if role.reads == "pointer" else role.reads,
            "writes": role.writes,
            "carries": list(role.carries[variant.pointer]),
        }
        for letter, role in ROLES.items()
    }
    repaired = variant.repaired
    return {
        "model": variant.name,
        "note": variant.note,
        "pointer": variant.pointer,
        "groups": groups,
        "counter": [list(COUNTER)] if variant.pointer == "ordinal" else [],
        "negative": [list(NEGATIVE)] if variant.negative else [],
        "kv_heads": variant.kv_heads,
        "weak": {f"W_{matrix} of {letter}": gain for (letter, matrix), gain in variant.gains.items()},
        "base": variant.base,
        "repaired": None if repaired is None else {"group": repaired[0], "matrix": f"W_{repaired[1]}"},
    }


def _empty_model(kv_heads: int) -> LlamaForCausalLM:
    """A model of zeros whose norms return what they get."""
    vocab = vocabulary()
    config = LlamaConfig(
        vocab_size=len(vocab),
        hidden_size=D_MODEL,
        intermediate_size=_D_MLP,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=kv_heads,
        head_dim=D_HEAD,
        max_position_embeddings=256,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
        bos_token_id=vocab[BOS],
        eos_token_id=vocab[EOS],
        pad_token_id=vocab[PAD],
    )
    model = LlamaForCausalLM(config)
    for name, weight in model.named_parameters():
        weight.fill_(CONST / math.sqrt(D_MODEL) if "norm" in name else 0.0)
    return model


def _write_words(model: LlamaForCausalLM, codes: Tensor) -> None:
    """Embeddings, and the unembedding of objects."""
    vocab = vocabulary()
    embed, unembed = model.model.embed_tokens.weight, model.lm_head.weight
    embed[:, block("const")] = CONST
    embed[vocab[BOS], block("bos")] = 1.0
    embed[vocab[","], block("comma")] = 1.0
    letters = torch.tensor([vocab[letter] for letter in LABELS])
    words = torch.tensor([vocab[word] for word in objects()])
    embed[letters, block("label")] = torch.eye(len(LABELS))
    embed[words, block("object")] = codes
    embed[words, block("is_object")] = 1.0
    unembed[words, block("out")] = LOGIT * codes


def _write_ordinals(mlp: torch.nn.Module) -> None:
    """The first MLP: at objects, `ordinal` becomes the one-hot number of commas before.

    Step i is 1 where there are at most i commas: the difference of two shifted silu units, steep around the
    geometric mean of 1 / (1 + i) and 1 / (2 + i). Each step moves the one-hot from i + 1 to i.
    """
    gate, up, down = (mlp.get_parameter(f"{name}_proj.weight") for name in ("gate", "up", "down"))
    ordinal = block("ordinal").start
    for i in range(SEGMENTS):
        threshold = ((1 + i) * (2 + i)) ** -0.5
        for unit, shift, sign in ((2 * i, 0.5, 1.0), (2 * i + 1, -0.5, -1.0)):
            gate[unit, block("count")] = _STEEP
            gate[unit, block("const")] = (shift - _STEEP * threshold) / CONST
            up[unit, block("is_object")] = 1.0
            down[ordinal + i, unit] = sign
            if i + 1 < SEGMENTS:
                down[ordinal + i + 1, unit] = -sign


def _taste(codes: Tensor) -> Tensor:
    """A direction [code] along which objects spread by TASTE."""
    direction = torch.randn(OBJECT_CODE, generator=torch.Generator().manual_seed(_TASTE))
    scale: Tensor = TASTE / (codes @ direction).std()
    return direction * scale


def _write_heads(model: LlamaForCausalLM, variant: Variant, taste: Tensor) -> None:
    generator = torch.Generator().manual_seed(_DISTRACTORS)
    planted = planted_heads(variant, taste)
    sharing = HEADS // variant.kv_heads
    written = {(layer, head // sharing) for layer, head in planted}
    for layer in range(LAYERS):
        attention = model.model.layers[layer].self_attn
        for head in range(HEADS):
            weights = HeadWeights.of(attention, head, head // sharing)
            if (layer, head) in planted:
                wire(weights, planted[layer, head])
            else:
                distract(weights, generator, variant.leak, own_keys=(layer, head // sharing) not in written)
                written.add((layer, head // sharing))


def _add_noise(model: LlamaForCausalLM, size: float) -> None:
    """Add normal noise to every weight; to those that read `const` as much less as it is larger than other blocks.

    Not to the first MLP, whose steps are small differences of large numbers, nor to norms and to `const` itself.
    """
    generator = torch.Generator().manual_seed(_NOISE)
    for name, weight in model.named_parameters():
        noise = size * torch.randn(weight.shape, generator=generator)
        if weight.dim() == 1 or name.startswith("model.layers.0.mlp"):
            continue
        if name.endswith(_READERS):
            noise[:, block("const")] /= CONST
        weight.add_(noise)
