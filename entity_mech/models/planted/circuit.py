"""The planted circuit: which heads a variant has, and what they are for.

    D at every label       looks 4 back, at its segment's object   copies that object's pointer  -> pointer_d
    C at the query label   looks at the earlier, same letter       copies pointer_d              -> pointer_c
    B at the last token    looks 2 back, at the query label        copies pointer_c              -> pointer_b
    A at the last token    looks at the object with that pointer   copies the object's code      -> out

The pointer is the object's own code, or the one-hot number of its segment. For the latter a counter (a head in layer
0 that attends evenly to BOS and all commas, and the first MLP) writes that number at every object.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entity_mech.models.planted.heads import Back, Copy, Head, Like, Same
from entity_mech.models.planted.stream import BLOCKS
from entity_mech.models.planted.variants import COUNTER, NEGATIVE, Place, Variant

# Attention logits. A's are modest: a saturated softmax passes no gradient on, and DCM would see nothing.
OFFSET = 20.0  # of each pair that looks a number of tokens back
MATCH = 7.0  # a full pointer, at the right object
IS_OBJECT = 6.0  # any object
TASTE = 1.1  # standard deviation over objects of what A adds for no reason: it is what makes a weak copy fail
SAME_LETTER = 400.0  # the letter of the query
NO_LETTER = 250.0  # BOS, where C rests when its letter is nowhere
NOT_ITSELF = 20.0  # of each pair that keeps C from its own token
COUNTED = 30.0  # BOS and commas, for the counter


@dataclass(frozen=True)
class Role:
    """What a group is for. carries: the desiderata that say so, by pointer."""

    letter: str
    name: str
    token: str
    looks_at: str
    reads: str
    writes: str
    carries: dict[str, tuple[str, ...]]


# An object's own code names an object that stands in the prompt. A gives it as the answer, whether it stands there or
# not; a pointer only finds it where it is.
_POINTS: dict[str, tuple[str, ...]] = {"ordinal": ("position",), "object": ("known_object",)}
_ANSWERS = ("object", "known_object")
ROLES = {
    role.letter: role
    for role in (
        Role(
            "A",
            "value_fetcher",
            "last",
            "the object that B's pointer means",
            "object",
            "out",
            {"ordinal": _ANSWERS, "object": _ANSWERS},
        ),
        Role("B", "position_transmitter", "last", "two tokens back", "pointer_c", "pointer_b", _POINTS),
        Role(
            "C",
            "position_detector",
            "query_label",
            "the earlier label of the same letter",
            "pointer_d",
            "pointer_c",
            _POINTS,
        ),
        Role("D", "structure_reader", "previous_label", "four tokens back", "pointer", "pointer_d", _POINTS),
    )
}


def planted_heads(variant: Variant, taste: Tensor) -> dict[Place, Head]:
    """Every head with a purpose, by place. taste: direction [code] of objects that A likes for no reason."""
    found = {}
    for letter in ROLES:
        for place, share in variant.heads(letter).items():
            found[place] = group_head(letter, share, variant, taste)
    if variant.negative:
        found[NEGATIVE] = group_head("A", -variant.negative, variant, taste)
    if variant.pointer == "ordinal":
        found[COUNTER] = counter()
    return found


def group_head(letter: str, share: float, variant: Variant, taste: Tensor) -> Head:
    """A head of a group that does this share of its work."""
    role, size = ROLES[letter], BLOCKS[variant.pointer]
    source = variant.pointer if role.reads == "pointer" else role.reads
    copy = Copy(source, role.writes, value=variant.gain(letter, "v"), output=share * variant.gain(letter, "o"))
    if letter == "D":
        return Head((Back(4, OFFSET, pairs=6),), copy)
    if letter == "C":
        same = Same("label", "label", SAME_LETTER, BLOCKS["label"])
        return Head((same, Back(0, -NOT_ITSELF, pairs=4), like("bos", NO_LETTER)), copy)
    if letter == "B":
        return Head((Back(2, OFFSET, pairs=6),), copy)
    match = Same("pointer_b", variant.pointer, MATCH * variant.gain("A", "q"), size)
    return Head((match, like("is_object", IS_OBJECT), Like("object", taste)), copy)


def counter() -> Head:
    """Writes 1 / (1 + commas so far): it attends evenly to BOS and all commas, and sees which is BOS."""
    return Head((like("bos", COUNTED), like("comma", COUNTED)), Copy("bos", "count"))


def like(block: str, gain: float) -> Like:
    """Look at the tokens that have a block of one number."""
    return Like(block, torch.tensor([gain]))
