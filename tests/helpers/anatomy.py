"""Where a transformers model of any family has its layers and heads, for oracles that know nothing of the engine.

Needs eager attention where q, k and v are edited: each family's module then calls its own
`apply_rotary_pos_emb` and `eager_attention_forward`, which are replaced for a while.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from torch import Tensor, nn

# model_type -> the list of layers, the output projection in a layer
PLACES = {
    "gpt_neox": ("gpt_neox.layers", "attention.dense"),
    "gpt2": ("transformer.h", "attn.c_proj"),
}
Edit = Callable[[int, str, Tensor], Tensor]  # (layer, kind, x [prompt, head, pos, d_head]) -> the same, or edited


def layers_of(model: nn.Module) -> list[nn.Module]:
    return list(model.get_submodule(PLACES.get(model.config.model_type, ("model.layers", ""))[0]))


def output_projections(model: nn.Module) -> list[nn.Module]:
    """What maps all heads' outputs to d_model, a layer each."""
    name = PLACES.get(model.config.model_type, ("", "self_attn.o_proj"))[1]
    return [layer.get_submodule(name) for layer in layers_of(model)]


@contextmanager
def edited_attention(model: nn.Module, edit: Edit) -> Iterator[None]:
    """Call `edit` with each layer's q and k after any norm of theirs and before rotation, with its v, and with the
    additive mask (kind `mask`, [prompt, 1, query, key]); what it returns takes their place."""
    module = sys.modules[type(model).__module__]
    rotates = hasattr(module, "apply_rotary_pos_emb")
    attend, n_layers = module.eager_attention_forward, len(layers_of(model))
    rotated = attended = 0

    def rotate(q, k, *args, **kwargs):
        nonlocal rotated
        layer, rotated = rotated % n_layers, rotated + 1
        return turn(edit(layer, "q", q), edit(layer, "k", k), *args, **kwargs)

    def attention(this, q, k, v, mask, **kwargs):
        nonlocal attended
        layer, attended = attended % n_layers, attended + 1
        if not rotates:
            q, k = edit(layer, "q", q), edit(layer, "k", k)
        return attend(this, q, k, edit(layer, "v", v), edit(layer, "mask", mask), **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        if rotates:
            turn = module.apply_rotary_pos_emb
            patch.setattr(module, "apply_rotary_pos_emb", rotate)
        patch.setattr(module, "eager_attention_forward", attention)
        yield
    assert attended > 0
    assert attended % n_layers == 0
    assert rotated in (0, attended)
