"""Which words every tokenizer of a run reads as one token, with the blank in front of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from entity_mech.errors import UserError
from entity_mech.progress import track
from entity_mech.task.encoding import check_fast, encode
from entity_mech.task.prompts import render
from entity_mech.task.scenes import Scene
from entity_mech.task.task import Task
from entity_mech.task.words import Dropped, Words, word_problems

_NAMED = 12  # words named in a message
_CHUNK = 1024  # words tried at a time


def usable_words(objects: Sequence[str], labels: Sequence[str], tokenizers: Mapping[str, Any], task: Task) -> Words:
    """The words that can be used in every tokenizer of the run, in the order given (method, section 1).

    A word is tried in the prompts themselves: in the first, middle and last segment and, an object, as the
    answer. It stays when it is one token there together with its blank, always the same one, known to the
    tokenizer, and no other word's. tokenizers: name -> transformers tokenizer. One more object and one more
    label than boxes are needed, for corrupted prompts and sources. Raises UserError that names the tokenizers
    and the words when too few are left, and for words that no prompt can hold.
    """
    _check_given(objects, labels)
    dropped: Dropped = {}
    for name, tokenizer in tokenizers.items():
        check_fast(tokenizer, name)
        dropped[name] = _unusable(name, tokenizer, objects, labels, task)
    bad = {word for words in dropped.values() for word in words}
    kept = Words(tuple(w for w in objects if w not in bad), tuple(w for w in labels if w not in bad), dropped)
    for kind, left, all_words in (("objects", kept.objects, objects), ("labels", kept.labels, labels)):
        if len(left) <= task.boxes:
            raise UserError(_too_few(kind, len(left), all_words, task.boxes, dropped))
    return kept


def _check_given(objects: Sequence[str], labels: Sequence[str]) -> None:
    problems = [problem for _, problem in word_problems([*objects, *labels])]
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise UserError("objects and labels: " + "; ".join(problems[:_NAMED]) + more)


def _unusable(name: str, tokenizer: Any, objects: Sequence[str], labels: Sequence[str], task: Task) -> dict[str, str]:
    """Word -> reason, for the words that this tokenizer cannot use."""
    reasons: dict[str, str] = {}
    taken: dict[int, str] = {}
    for role, words, other in (("object", objects, labels[0]), ("label", labels, objects[0])):
        chunks = [words[start : start + _CHUNK] for start in range(0, len(words), _CHUNK)]
        told = track(chunks, label=f"thousands of words in {name}'s tokenizer") if len(chunks) > 1 else chunks
        tried = (pair for chunk in told for pair in _try_words(tokenizer, chunk, role, other, task))
        for word, (token, reason) in zip(words, tried, strict=True):
            if reason is None and token in taken:
                reason = f"same token as {taken[token]!r}"
            if reason is None:
                taken[token] = word
            else:
                reasons[word] = reason
    return reasons


def _try_words(
    tokenizer: Any, words: Sequence[str], role: str, other: str, task: Task
) -> list[tuple[int, str | None]]:
    """Token id and None, or 0 and the reason against it, for each word in the place of a role."""
    texts, spans = [], []
    for word in words:
        scene = Scene((word,) * 3, (other,) * 3) if role == "object" else Scene((other,) * 3, (word,) * 3)
        prompt = render(scene, 1, task)
        start = len(prompt.text) + 1
        places = [span for span in prompt.segments[role] if span is not None]
        places.append((start, start + len(word)) if role == "object" else prompt.query["query_label"])
        # As the answer, an object stands at the very end.
        texts.append(f"{prompt.text} {word}" if role == "object" else prompt.text)
        spans.append(places)
    found = encode(tokenizer, texts)
    at = np.array(spans)  # [word, place, 2]
    last = found.last_token(at[..., 1] - 1)
    # The blank in front belongs to the word's token, or to no token at all.
    first = found.first_token(np.maximum(at[..., 0] - 1, 0))
    ids = np.take_along_axis(found.ids, last, 1)
    alone = (first == last) & (np.take_along_axis(found.end, last, 1) == at[..., 1])
    results: list[tuple[int, str | None]] = []
    for row, good in zip(ids, alone, strict=True):
        if not good.all():
            results.append((0, "not one token"))
        elif row[0] == tokenizer.unk_token_id:
            results.append((0, "unknown to the tokenizer"))
        elif (row != row[0]).any():
            results.append((0, "not the same token everywhere"))
        else:
            results.append((int(row[0]), None))
    return results


def _too_few(kind: str, left: int, words: Sequence[str], boxes: int, dropped: Dropped) -> str:
    lost = []
    for name, reasons in dropped.items():
        named = [f"{word} ({reasons[word]})" for word in words if word in reasons]
        if named:
            more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
            lost.append(f"tokenizer {name} cannot use {', '.join(named[:_NAMED])}{more}")
    why = "; ".join(lost) or f"{len(words)} were given"
    return f"{boxes} boxes need at least {boxes + 1} {kind}, and {left} are left: {why}"
