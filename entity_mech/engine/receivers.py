"""What a path-patching search patches into: inputs of heads, or the logits."""

from collections.abc import Iterable
from dataclasses import dataclass

from entity_mech.errors import UserError

INPUTS = ("q", "k", "v")


@dataclass(frozen=True)
class Receivers:
    """Inputs of heads, all read and patched at the sender's token; empty `layers` means the logits.

    layers: layer -> {"q": heads, "k": kv_heads, "v": kv_heads}, each list sorted and without repeats.
    """

    layers: dict[int, dict[str, list[int]]]

    @staticmethod
    def of_heads(heads: Iterable[tuple[str, int, int]], group: int) -> "Receivers":
        """From (input, layer, query head); k and v go to the key/value head that the query head reads.

        `group` is the number of query heads that share a key/value head: a key/value head named by several
        of its query heads is patched once and seen by all of them (method, section 4).
        """
        layers: dict[int, dict[str, set[int]]] = {}
        for kind, layer, head in heads:
            if kind not in INPUTS:
                raise UserError(f"receiver input {kind!r}: allowed are q, k, v")
            index = head if kind == "q" else head // group
            layers.setdefault(layer, {}).setdefault(kind, set()).add(index)
        return Receivers({la: {k: sorted(h) for k, h in kinds.items()} for la, kinds in sorted(layers.items())})

    @property
    def last(self) -> int:
        """Highest receiver layer: a sender at or above it has no path and scores exactly 0."""
        return max(self.layers)

    def next_above(self, layer: int) -> int:
        """First receiver layer above a sender's layer."""
        return min(r for r in self.layers if r > layer)
