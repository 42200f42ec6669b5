"""From the text of a split to token ids and positions, for one tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from entity_mech.errors import UserError
from entity_mech.progress import log, track
from entity_mech.task.datasets import Record, read_split
from entity_mech.task.encoding import Encoded, check_fast, encode
from entity_mech.task.prompts import Prompt
from entity_mech.task.roles import ALIASES, BOS, LABEL, OBJECT, SETS
from entity_mech.task.tokens import TokenizedPairs, TokenizedPrompts, check_same_layout, digest_of, write_tokens

SAME_LAYOUT = ("pruning", "ablation", "evaluation")
_CHUNK = 1024
_NOWHERE = -1


def tokenize_split(
    dataset: str | Path, tokenizer: Any, path: str | Path, *, split: str, name: str, seed: int
) -> None:
    """Tokenize a split's text file and write its token file (HDF5).

    tokenizer: a fast transformers tokenizer; name: what the run calls it. Raises UserError when a role cannot be told
    apart in a prompt, or when prompts over which outputs are averaged by position are not laid out alike.
    """
    check_fast(tokenizer, name)
    records = read_split(dataset)
    groups, targets = tokenize_records(records, tokenizer, name)
    if split in SAME_LAYOUT:
        prompts = groups[""]["prompts"]
        check_same_layout(prompts, prompts, f"split {split}, tokenizer {name}")
    used = {int(i) for parts in groups.values() for prompts in parts.values() for i in np.unique(prompts.ids)}
    texts = tokenizer.convert_ids_to_tokens(sorted(used))
    pieces = {
        i: tokenizer.convert_tokens_to_string([text]) or text for i, text in zip(sorted(used), texts, strict=True)
    }
    attributes: dict[str, str | int] = {
        "dataset": digest_of(dataset),
        "tokenizer": name,
        "split": split,
        "seed": seed,
    }
    write_tokens(path, groups, targets, pieces, attributes)


def tokenize_records(
    records: Sequence[Record], tokenizer: Any, name: str = "tokenizer"
) -> tuple[dict[str, dict[str, TokenizedPrompts]], dict[str, np.ndarray]]:
    """Tokenize records: part -> name of a prompt -> prompts, and part -> target ids, in the order of the records."""
    parts: dict[str, list[Record]] = {}
    for record in records:
        parts.setdefault(record.part, []).append(record)
    vocabulary = _Vocabulary(tokenizer, name)
    groups: dict[str, dict[str, TokenizedPrompts]] = {}
    targets: dict[str, np.ndarray] = {}
    known: dict[tuple[tuple[str, int, int], ...], TokenizedPrompts] = {}  # probes share their base prompts
    for part, rows in track(parts.items(), len(parts), f"tokenize with {name}"):
        groups[part] = {}
        for key in rows[0].prompts:
            prompts = [record.prompts[key] for record in rows]
            same = tuple((prompt.text, prompt.scene, prompt.role_segment) for prompt in prompts)
            if same not in known:
                where = f"{name}: {f'{part} ' if part else ''}{key}"
                known[same] = tokenize_prompts(prompts, tokenizer, where, vocabulary)
            groups[part][key] = known[same]
        wanted = [record.target for record in rows if record.target is not None]
        if wanted:
            targets[part] = vocabulary.ids(wanted)
    return groups, targets


def tokenize_pairs(records: Sequence[Record], tokenizer: Any, name: str = "tokenizer") -> TokenizedPairs:
    """Tokenize the pairs of one part."""
    groups, targets = tokenize_records(records, tokenizer, name)
    (part,) = groups
    return TokenizedPairs(groups[part]["base"], groups[part]["source"], targets[part])


def tokenize_prompts(
    prompts: Sequence[Prompt], tokenizer: Any, where: str = "prompts", vocabulary: _Vocabulary | None = None
) -> TokenizedPrompts:
    """Tokenize prompts that have the same number of segments. where: named in messages.

    Roles are found by the characters that tokens cover; a role is the last token of its word. Raises UserError when
    an object or a label is not one token, when two roles share a token, or when an answer changes the prompt
    before it.
    """
    vocabulary = vocabulary or _Vocabulary(tokenizer, where)
    chunks = [_tokenize_chunk(prompts[at : at + _CHUNK], tokenizer, where) for at in range(0, len(prompts), _CHUNK)]
    found = _stack([tokens for tokens, _ in chunks])
    unknown = sorted(set().union(*(words for _, words in chunks)))
    if unknown:
        log(f"warning: {where}: the tokenizer does not know {', '.join(unknown)}")
    vocabulary.learn(prompts, found)
    return found


class _Vocabulary:
    """Object -> token id, learnt from the prompts, each checked as an answer once."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        self.tokenizer, self.name = tokenizer, name
        self.known: dict[str, int] = {}

    def ids(self, objects: Iterable[str]) -> np.ndarray:
        return np.array([self.known[word] for word in objects], np.int64)

    def learn(self, prompts: Sequence[Prompt], found: TokenizedPrompts) -> None:
        """Take in the objects of prompts. Raises UserError when one has different ids in two places."""
        asked: dict[str, Prompt] = {}
        for prompt, choices in zip(prompts, found.choices.tolist(), strict=True):
            for word, token in zip(prompt.objects, choices, strict=True):
                if self.known.setdefault(word, token) != token:
                    raise UserError(f"{self.name}: {word!r} is another token in {prompt.text!r} than elsewhere")
                if word not in asked:
                    asked[word] = prompt
        self._check_answers(asked)

    def _check_answers(self, asked: Mapping[str, Prompt]) -> None:
        words = list(asked)
        plain = encode(self.tokenizer, [asked[word].text for word in words])
        full = encode(self.tokenizer, [f"{asked[word].text} {word}" for word in words])
        for row, word in enumerate(words):
            n = int(plain.length[row])
            same = full.length[row] == n + 1 and (full.ids[row, :n] == plain.ids[row, :n]).all()
            if not same or full.ids[row, n] != self.known[word]:
                raise UserError(
                    f"{self.name}: as the answer, {word!r} is not the one token that it is in the prompt "
                    f"{asked[word].text!r}"
                )


def _tokenize_chunk(prompts: Sequence[Prompt], tokenizer: Any, where: str) -> tuple[TokenizedPrompts, set[str]]:
    """Some prompts, and the words in them that the tokenizer does not know."""
    found = encode(tokenizer, [prompt.text for prompt in prompts])
    names, query_names = list(prompts[0].segments), list(prompts[0].query)
    spans, query_spans = _spans(prompts, names, query_names)
    n, boxes = spans.shape[:2]
    rows = np.arange(n)
    at = _last_tokens(found, spans.reshape(n, -1, 2)).reshape(n, boxes, -1)
    query_at = _last_tokens(found, query_spans)
    for role in (OBJECT, LABEL):
        _check_whole(prompts, found, role, spans[:, :, names.index(role)], at[:, :, names.index(role)], where)
    _check_apart(prompts, np.concatenate([at.reshape(n, -1), query_at], 1), found, where)

    segment = np.array([prompt.role_segment for prompt in prompts])
    own = np.where(segment[:, None] >= 0, at[rows, segment], _NOWHERE)
    roles = {BOS: np.where(found.leading > 0, 0, _NOWHERE)}
    roles |= {role: own[:, i] for i, role in enumerate(names)}
    roles |= {role: query_at[:, i] for i, role in enumerate(query_names)}
    roles |= {alias: roles[name] for alias, name in ALIASES.items()}
    others = np.where(np.arange(boxes) == segment[:, None], _NOWHERE, np.arange(boxes)) >= 0
    choices = np.take_along_axis(found.ids, at[:, :, names.index(OBJECT)], 1)
    query = np.array([prompt.query_index for prompt in prompts])
    answered = np.array([prompt.answer is not None for prompt in prompts])
    tokens = TokenizedPrompts(
        ids=found.ids,
        length=found.length,
        roles=roles,
        sets={
            name: _as_mask(np.where(others, at[:, :, names.index(role)], _NOWHERE), found.ids.shape[1])
            for name, role in SETS.items()
        },
        segment=_segments(found, spans),
        answer=np.where(answered, choices[rows, query], _NOWHERE),
        choices=choices,
        query_index=query,
        scene=np.array([prompt.scene for prompt in prompts]),
    )
    return tokens, _unknown_words(prompts, found, tokenizer.unk_token_id)


def _spans(
    prompts: Sequence[Prompt], names: Sequence[str], query_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Character spans: [prompt, segment, role, 2] and [prompt, query role, 2]; -1 where there is no such word."""
    none = (_NOWHERE, _NOWHERE)
    segments = [[[span or none for span in p.segments[role]] for role in names] for p in prompts]
    query = [[p.query[role] for role in query_names] for p in prompts]
    return np.array(segments, np.int64).swapaxes(1, 2), np.array(query, np.int64)


def _last_tokens(found: Encoded, spans: np.ndarray) -> np.ndarray:
    """Position of the last token of each span: [prompt, k, 2] -> [prompt, k]; -1 for no span."""
    at = found.last_token(np.maximum(spans[:, :, 1] - 1, 0))
    return np.where(spans[:, :, 1] < 0, _NOWHERE, at)


def _segments(found: Encoded, spans: np.ndarray) -> np.ndarray:
    """The segment that each token belongs to, by the last character that it covers: [prompt, pos]."""
    start = np.where(spans[..., 0] < 0, np.iinfo(np.int64).max, spans[..., 0]).min(2)
    end = spans[..., 1].max(2)
    char = np.where(found.end > found.start, found.end - 1, _NOWHERE)[:, :, None]
    inside = (start[:, None, :] <= char) & (char < end[:, None, :])
    return np.where(inside.any(2), inside.argmax(2), _NOWHERE)


def _as_mask(at: np.ndarray, width: int) -> np.ndarray:
    """Positions [prompt, k] (-1: none) as a mask [prompt, pos]."""
    mask = np.zeros((len(at), width + 1), bool)
    np.put_along_axis(mask, np.where(at < 0, width, at), True, 1)
    return mask[:, :width]


def _check_whole(
    prompts: Sequence[Prompt], found: Encoded, role: str, spans: np.ndarray, token: np.ndarray, where: str
) -> None:
    """Objects and labels must be one token each, which covers nothing else but a blank in front.

    spans: [prompt, segment, 2]; token: [prompt, segment].
    """
    start, end = spans[..., 0], spans[..., 1]
    bad = found.first_token(start) != token
    bad |= np.take_along_axis(found.end, token, 1) != end
    bad |= np.take_along_axis(found.start, token, 1) < start - 1
    if bad.any():
        row, box = np.argwhere(bad)[0]
        words = prompts[row].objects if role == OBJECT else prompts[row].labels
        raise UserError(f"{where}: {words[box]!r} is not one token in {prompts[row].text!r}")


def _check_apart(prompts: Sequence[Prompt], at: np.ndarray, found: Encoded, where: str) -> None:
    """No token may play two roles."""
    unique = np.where(at < 0, -1 - np.arange(at.shape[1]), at)
    ordered = np.sort(unique, axis=1)
    clash = (ordered[:, 1:] == ordered[:, :-1]).any(1)
    if clash.any():
        row = int(np.flatnonzero(clash)[0])
        boxes = len(prompts[row].objects)
        names = [f"{role} of segment {k + 1}" for k in range(boxes) for role in prompts[row].segments]
        names += prompts[row].query
        tokens, counts = np.unique(unique[row], return_counts=True)
        token = tokens[counts > 1][0]
        same = [name for name, pos in zip(names, unique[row], strict=True) if pos == token]
        text = prompts[row].text[max(found.start[row, token], 0) : found.end[row, token]]
        raise UserError(f"{where}: {' and '.join(same)} are one token ({text!r}) in {prompts[row].text!r}")


def _unknown_words(prompts: Sequence[Prompt], found: Encoded, unknown: int | None) -> set[str]:
    """Texts of tokens that the tokenizer does not know."""
    if unknown is None:
        return set()
    return {
        prompts[row].text[found.start[row, pos] : found.end[row, pos]].strip()
        for row, pos in np.argwhere(found.ids == unknown)
        if found.leading[row] <= pos < found.length[row]
    }


def _stack(chunks: Sequence[TokenizedPrompts]) -> TokenizedPrompts:
    """One after another, padded to the longest."""
    width = max(chunk.ids.shape[1] for chunk in chunks)

    def pad(array: np.ndarray, value: Any) -> np.ndarray:
        return np.pad(array, ((0, 0), (0, width - array.shape[1])), constant_values=value)

    def join(get: Any) -> np.ndarray:
        return np.concatenate([get(chunk) for chunk in chunks])

    first = chunks[0]
    return TokenizedPrompts(
        ids=join(lambda c: pad(c.ids, 0)),
        segment=join(lambda c: pad(c.segment, _NOWHERE)),
        roles={role: join(lambda c, role=role: c.roles[role]) for role in first.roles},
        sets={name: join(lambda c, name=name: pad(c.sets[name], False)) for name in first.sets},
        length=join(lambda c: c.length),
        answer=join(lambda c: c.answer),
        choices=join(lambda c: c.choices),
        query_index=join(lambda c: c.query_index),
        scene=join(lambda c: c.scene),
    )
