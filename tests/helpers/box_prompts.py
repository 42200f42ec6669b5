"""Box prompts of made-up token ids, with their roles, for tests that need no tokenizer."""

import numpy as np

from entity_mech.task.tokens import TokenizedPairs, TokenizedPrompts

WORDS = {"the": 1, "is": 2, "in": 3, "box": 4, "separator": 5, "contains": 6, "filler": 7}
FIRST_LABEL, FIRST_OBJECT, N_LABELS = 10, 36, 26
SEGMENT = ("the", "object", "is", "in", "box", "label", "separator")


def box_prompts(seed: int, n: int, boxes: int = 3, vocab: int = 61, ragged: bool = False) -> TokenizedPrompts:
    """`The o is in Box L, ... Box L contains the`; ragged ones have 0 to 2 words more at the start."""
    rng = np.random.default_rng(seed)
    extra = rng.integers(0, 3, n) if ragged else np.zeros(n, int)
    objects = np.stack([rng.choice(vocab - FIRST_OBJECT, boxes, replace=False) for _ in range(n)]) + FIRST_OBJECT
    labels = np.stack([rng.choice(N_LABELS, boxes, replace=False) for _ in range(n)]) + FIRST_LABEL
    query = rng.integers(0, boxes, n)
    length = extra + 7 * boxes + 4
    ids = np.zeros((n, int(length.max())), np.int64)
    segment = np.full(ids.shape, -1)
    for i in range(n):
        row = [WORDS["filler"]] * extra[i]
        for box in range(boxes):
            named = {"object": objects[i, box], "label": labels[i, box]}
            row += [named.get(word, WORDS.get(word)) for word in SEGMENT]
            segment[i, len(row) - 7 : len(row)] = box
        row += [WORDS["box"], labels[i, query[i]], WORDS["contains"], WORDS["the"]]
        ids[i, : len(row)] = row
    start = extra + 7 * query
    roles = {word: start + at for at, word in enumerate(SEGMENT)}
    roles |= {"query_box": length - 4, "query_label": length - 3, "contains": length - 2, "last": length - 1}
    roles |= {"previous_label": roles["label"], "correct_object": roles["object"], "bos": np.full(n, -1)}
    return TokenizedPrompts(
        ids=ids,
        length=length,
        roles=roles,
        sets={},
        segment=segment,
        answer=objects[np.arange(n), query],
        choices=objects,
        query_index=query,
        scene=np.arange(n) // 2,
    )


def box_pairs(seed: int, n: int, boxes: int = 3, vocab: int = 61, ragged: bool = False) -> TokenizedPairs:
    """Unrelated base and source prompts; the target is the source's answer."""
    source = box_prompts(seed + 1000, n, boxes, vocab, ragged)
    return TokenizedPairs(box_prompts(seed, n, boxes, vocab, ragged), source, source.answer)
