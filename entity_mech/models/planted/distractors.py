"""Heads without a purpose: they look somewhere and write what they see where nobody, or hardly anybody, reads."""

from __future__ import annotations

import torch
from torch import Tensor

from entity_mech.models.planted.heads import D_HEAD, SLOW, Back, HeadWeights, write_looks
from entity_mech.models.planted.stream import BLOCKS, block

_SEEN = ("label", "object", "bos", "comma", "is_object")  # what their attention depends on
_READ = ("label", "object", "ordinal", "pointer_d", "pointer_c", "pointer_b", "out")
_WRITTEN = ("pointer_d", "pointer_c", "pointer_b", "out")
_FARTHEST = 8
_CONTENT = 20  # numbers of a query that meet a key's


def distract(weights: HeadWeights, generator: torch.Generator, leak: float, own_keys: bool) -> None:
    """Write a distractor: half of them look a fixed number of tokens back, half by content.

    leak: how strongly it writes into what others read, next to `junk`. own_keys: false where a planted head has
    written the keys and values already; then it looks at those with queries of its own.
    """
    d_model = weights.q.shape[1]
    mine = weights if own_keys else weights.with_keys(torch.zeros(D_HEAD, d_model), torch.zeros(D_HEAD, d_model))
    if torch.rand((), generator=generator) < 0.5:
        back = int(torch.randint(0, _FARTHEST + 1, (), generator=generator))
        write_looks(mine, (Back(back, 20.0, pairs=5),))
    else:
        rows = list(SLOW[:_CONTENT])
        for name in _SEEN:
            mine.q[rows, block(name)] = _normal(generator, _CONTENT, BLOCKS[name])
            mine.k[rows, block(name)] = _normal(generator, _CONTENT, BLOCKS[name])
    for name in _READ:
        mine.v[:, block(name)] = _normal(generator, D_HEAD, BLOCKS[name]) / D_HEAD**0.5
    mine.o[block("junk")] = _normal(generator, BLOCKS["junk"], D_HEAD) / D_HEAD**0.5
    for name in _WRITTEN:
        mine.o[block(name)] = leak * _normal(generator, BLOCKS[name], D_HEAD) / D_HEAD**0.5


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator)
