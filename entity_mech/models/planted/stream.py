"""The residual stream of a planted model: which of its numbers say what.

Every number belongs to one block, and every block holds one thing, so that what a head reads and writes can be said
by naming blocks. `const` is the same large number at every token: next to it all else is small, which makes RMSNorm
nearly linear (its weights are chosen so that it returns what it got), and reading it serves as a bias.
"""

from __future__ import annotations

CONST = 60.0
OBJECT_CODE = 32
SEGMENTS = 12  # the longest list of segments that can be counted

BLOCKS = {
    "const": 1,  # CONST at every token
    "bos": 1,  # 1 at the beginning of the text
    "comma": 1,  # 1 at commas
    "is_object": 1,  # 1 at object words
    "count": 1,  # 1 / (1 + commas so far), written by the counter
    "label": 26,  # one-hot letter, at labels
    "object": OBJECT_CODE,  # unit vector of the object word
    "ordinal": SEGMENTS,  # at objects: one-hot number of the segment, written by the first MLP
    "pointer_d": OBJECT_CODE,  # what D has written: which object its label goes with
    "pointer_c": OBJECT_CODE,  # what C has written
    "pointer_b": OBJECT_CODE,  # what B has written
    "out": OBJECT_CODE,  # what A has written: the code of the answer, read by the unembedding
    "junk": 49,  # where distractors write and nobody reads
}
D_MODEL = sum(BLOCKS.values())


def block(name: str, size: int | None = None) -> slice:
    """The numbers of a block, or its first `size`. Raises KeyError for an unknown name."""
    width = BLOCKS[name] if size is None else size
    start = 0
    for other, numbers in BLOCKS.items():
        if other == name:
            break
        start += numbers
    return slice(start, start + width)
