"""Heads by declaration: where a head looks and what it copies, written into its four matrices.

A head's attention logit is a sum of looks. Rotary embedding turns pair j of a query or key by
THETA ** (-2 j / D_HEAD) radians a token. The fast pairs see offsets between tokens; the slow ones hardly turn within
a prompt and carry content.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from entity_mech.models.planted.stream import BLOCKS, CONST, block

D_HEAD = 64
THETA = 1e10
FAST = 10  # pairs that see offsets: a token turns them by 1, 0.49, 0.24, ... radians
_HALF = D_HEAD // 2
SLOW = (*range(FAST, _HALF), *range(_HALF + FAST, D_HEAD))
_SCALE = math.sqrt(D_HEAD)  # what attention divides by


@dataclass(frozen=True)
class Back:
    """Look `tokens` back: gain * sum over the first `pairs` of cos(angle from there). A negative gain avoids it."""

    tokens: int
    gain: float
    pairs: int


@dataclass(frozen=True)
class Same:
    """Look where a block equals one's own: gain * (block `here` . block `there`), over the first `size` numbers."""

    here: str
    there: str
    gain: float
    size: int


@dataclass(frozen=True, eq=False)
class Like:
    """Look at tokens whose block points along `direction` (the gain is its length)."""

    block: str
    direction: Tensor


Look = Back | Same | Like


@dataclass(frozen=True)
class Copy:
    """Copy a block of the token looked at into a block of one's own: `value` is the gain in W_v, `output` in W_o."""

    source: str
    target: str
    value: float = 1.0
    output: float = 1.0


@dataclass(frozen=True)
class Head:
    """A head: the looks that add up to its attention, and what it copies."""

    looks: tuple[Look, ...]
    copy: Copy


@dataclass(frozen=True, eq=False)
class HeadWeights:
    """One head's parts of the attention matrices, as views: q, k, v [d_head, d_model], o [d_model, d_head]."""

    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor

    @staticmethod
    def of(attention: torch.nn.Module, head: int, kv_head: int) -> HeadWeights:
        """The parts of head number `head`, which reads key/value head number `kv_head`."""

        def rows(name: str, index: int) -> Tensor:
            weight = attention.get_parameter(f"{name}.weight").data
            return weight[index * D_HEAD : (index + 1) * D_HEAD]

        columns = attention.get_parameter("o_proj.weight").data[:, head * D_HEAD : (head + 1) * D_HEAD]
        return HeadWeights(rows("q_proj", head), rows("k_proj", kv_head), rows("v_proj", kv_head), columns)

    def with_keys(self, k: Tensor, v: Tensor) -> HeadWeights:
        """The same queries and outputs, with other keys and values."""
        return HeadWeights(self.q, k, v, self.o)


def wire(weights: HeadWeights, head: Head) -> None:
    """Write a head. Where two heads share keys and values, both must declare the same ones.

    Raises ValueError when its looks need more content numbers than a head has.
    """
    write_looks(weights, head.looks)
    copy = head.copy
    size = min(BLOCKS[copy.source], BLOCKS[copy.target])
    weights.v[:size, block(copy.source, size)] = copy.value * torch.eye(size)
    weights.o[block(copy.target, size), :size] = copy.output * torch.eye(size)


def write_looks(weights: HeadWeights, looks: tuple[Look, ...]) -> None:
    """Write where a head looks into its q and k. Raises ValueError as `wire` does."""
    slots = iter(SLOW)
    for look in looks:
        _write_look(weights, look, slots)


def _write_look(weights: HeadWeights, look: Look, slots: Iterator[int]) -> None:
    const = block("const")
    if isinstance(look, Back):
        for pair in range(look.pairs):
            angle = -look.tokens * THETA ** (-2 * pair / D_HEAD)
            strength = look.gain * _SCALE / CONST
            weights.q[pair, const] = strength * math.cos(angle)
            weights.q[pair + _HALF, const] = strength * math.sin(angle)
            weights.k[pair, const] = 1 / CONST
    elif isinstance(look, Same):
        at = _take(slots, look.size)
        weights.q[at, block(look.here, look.size)] = look.gain * _SCALE * torch.eye(look.size)
        weights.k[at, block(look.there, look.size)] = torch.eye(look.size)
    else:
        # Keys stay small: what a pair's other number holds would be added to them as the pair turns.
        at, gain = _take(slots, 1), look.direction.norm()
        weights.q[at, const] = gain * _SCALE / CONST
        weights.k[at, block(look.block)] = look.direction / gain


def _take(slots: Iterator[int], number: int) -> list[int]:
    taken = list(islice(slots, number))
    if len(taken) < number:
        raise ValueError(f"a head has {len(SLOW)} content numbers, and its looks need more")
    return taken
