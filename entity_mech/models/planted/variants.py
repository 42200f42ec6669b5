"""The planted models: what each has in common with the others, and what is different about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

Place = tuple[int, int]  # (layer, head)
Matrix = tuple[str, Literal["q", "v", "o"]]  # (group's letter, matrix)

LAYERS, HEADS = 6, 6
# Where the heads of each group sit, the first ones first: as many are used as a variant has shares.
PLACES: Mapping[str, tuple[Place, ...]] = MappingProxyType(
    {
        "A": ((4, 1), (5, 0), (4, 3)),
        "B": ((3, 2), (3, 5), (3, 0)),
        "C": ((2, 0), (2, 3), (2, 5)),
        "D": ((1, 1), (1, 4), (1, 5)),
    }
)
COUNTER: Place = (0, 2)  # writes `count`, in models whose pointer is the ordinal
NEGATIVE: Place = (5, 4)  # looks where A looks and takes away from the answer

WEAK = 0.6  # factor on each of the three matrices that the fine-tuned models repair, one each
HARD = 0.3  # factor on the hard model's one
_HALVES = dict.fromkeys("ABCD", (0.5, 0.5))


@dataclass(frozen=True)
class Variant:
    """One planted model.

    pointer: what D, C and B pass on: the object's own code, or the number of its segment. shares: the part of its
    group's work that each head does, by letter. gains: factors on matrices of groups, 1 where nothing is said;
    below 1 the group is weak. base, repaired: the model that this one is a copy of, but for this one matrix.
    kv_heads: key/value heads. negative: what the negative head takes away, as a share of A's work; 0 for none.
    leak: strength with which distractors write into the blocks that others read. noise: standard deviation of
    what is added to every weight.
    """

    name: str
    pointer: Literal["object", "ordinal"]
    note: str
    shares: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: _HALVES)
    gains: Mapping[Matrix, float] = field(default_factory=dict)
    base: str | None = None
    repaired: Matrix | None = None
    kv_heads: int = HEADS
    negative: float = 0.0
    leak: float = 0.0
    noise: float = 0.0

    def gain(self, letter: str, matrix: Literal["q", "v", "o"]) -> float:
        """The factor on a matrix of a group."""
        return self.gains.get((letter, matrix), 1.0)

    def heads(self, letter: str) -> dict[Place, float]:
        """The heads of a group, with their shares."""
        shares = self.shares[letter]
        return dict(zip(PLACES[letter][: len(shares)], shares, strict=True))

    def repair(self, name: str, letter: str, matrix: Literal["q", "v", "o"]) -> Variant:
        """A copy whose one matrix has the factor 1 again."""
        gains = {key: gain for key, gain in self.gains.items() if key != (letter, matrix)}
        note = f"{self.name} with W_{matrix} of {letter} repaired"
        return replace(self, name=name, note=note, gains=gains, base=self.name, repaired=(letter, matrix))


def _variants() -> tuple[Variant, ...]:
    weak_gains: dict[Matrix, float] = {("A", "q"): WEAK, ("B", "v"): WEAK, ("B", "o"): WEAK}
    weak = Variant("weak", "ordinal", "ordinal pointer; W_q of A, W_v of B and W_o of B are weak", gains=weak_gains)
    redundant = {**_HALVES, "A": (1.0, 1.0, 1.0)}
    strong = {**_HALVES, "B": (1.0, 1.0, 1.0)}
    hard = Variant(
        "hard",
        "ordinal",
        "unequal shares, a negative head, grouped K/V heads, distractors that count, noise in all weights; B weak",
        shares={"A": (0.6, 0.25, 0.15), "B": (0.7, 0.3), "C": (0.6, 0.4), "D": (0.5, 0.3, 0.2)},
        gains={("B", "v"): HARD},
        kv_heads=3,
        negative=0.25,
        leak=0.2,
        noise=1e-3,
    )
    return (
        weak,
        weak.repair("repaired_q", "A", "q"),
        weak.repair("repaired_v", "B", "v"),
        weak.repair("repaired_o", "B", "o"),
        Variant("ordinal", "ordinal", "ordinal pointer, nothing weak"),
        Variant("object", "object", "object pointer, nothing weak"),
        Variant("redundant", "ordinal", "three heads of A, each of which does all the work", shares=redundant),
        Variant("saturated", "ordinal", "three heads of B, each of which does all the work", shares=strong),
        hard,
        hard.repair("hard_repaired", "B", "v"),
    )


VARIANTS: Mapping[str, Variant] = MappingProxyType({variant.name: variant for variant in _variants()})
