"""Prompts of varying layout, and which of their tokens play the same role (method, section 3).

Prompts of a split are all laid out alike. Here the same sentences stand at other places: with other numbers of
segments, and with other text before, between and behind them where the task has such texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from entity_mech.errors import UserError
from entity_mech.task.prompts import PLAIN, Change
from entity_mech.task.roles import LABEL, OBJECT, QUERY_LABEL, SETS, own_name
from entity_mech.task.scenes import SceneSource
from entity_mech.task.seeds import generator
from entity_mech.task.task import Task
from entity_mech.task.tokens import TokenizedPrompts
from entity_mech.task.words import Words

FOLDER = "layouts"  # of the token file's groups with these prompts, one a number of segments
_MORE, _FEWEST = 3, 2  # segments beyond the task's own number, in both directions; and at least
_NOWHERE, _BEFORE, _IN_SEGMENT, _BEHIND = range(4)
_OFFSETS, _IDS = 1 << 20, 1 << 32


@dataclass(frozen=True)
class Varied:
    """Prompts with this many segments: where their scenes come from, and the change of each."""

    boxes: int
    source: SceneSource
    changes: list[Change]


def varied_layouts(words: Words, task: Task, n: int, seed: int) -> Iterator[Varied]:
    """n prompts, evenly over the numbers of segments that the words allow."""
    most = min(task.boxes + _MORE, len(words.objects), len(words.labels))
    sizes = range(max(_FEWEST, task.boxes - _MORE), most + 1)
    for boxes, part in zip(sizes, np.array_split(np.arange(n), len(sizes)), strict=True):
        rng = generator(seed, "split", "ablation", f"{boxes} segments")
        changes = [_change(task, boxes, int(row), rng) for row in part]
        yield Varied(boxes, SceneSource(words, boxes, "ablation", rng), changes)


def _change(task: Task, boxes: int, row: int, rng: np.random.Generator) -> Change:
    """Every fourth prompt as it is, and one each with text before, between and behind its segments."""
    texts = task.texts
    match row % 4:
        case 1 if texts.text_at_start:
            return Change(before=(0, texts.text_at_start))
        case 2 if texts.text_at_start:
            return Change(before=(int(rng.integers(1, boxes)), texts.text_at_start))
        case 3 if texts.text_at_end:
            return Change(after=texts.text_at_end)
    return PLAIN


@dataclass(frozen=True)
class SameRole:
    """Which tokens play the same role, whatever their place and their segment.

    Tokens of a segment are told apart by how far they stand from its end, others by how far they stand from the
    prompt's start (before the segments) or end (the query); words of the templates also by which word it is, so
    that a capital, or the last segment's mark, is no other segment's. position: the role of each position of the
    prompts that are all laid out alike, -1 for none. plain: those prompts.
    """

    plain: TokenizedPrompts
    position: Int64[np.ndarray, " pos"]
    codes: Int64[np.ndarray, " role"]

    @classmethod
    def of(cls, plain: TokenizedPrompts) -> SameRole:
        """From prompts that are all laid out alike."""
        found = _codes(plain.rows([0]), plain)[0]
        codes = np.unique(found[found >= 0])
        return cls(plain, _places(codes, found), codes)

    def tokens(self, prompts: TokenizedPrompts) -> Int64[np.ndarray, "prompt pos"]:
        """The role of each token of other prompts, as in `position`; -1 for text that the plain prompts have not."""
        return _places(self.codes, _codes(prompts, self.plain))

    def at(self, roles: list[str]) -> Bool[np.ndarray, " pos"]:
        """Positions that play one of the roles, in any segment. Raises UserError for a role that none plays."""
        found = np.zeros(len(self.position), bool)
        for role in map(own_name, roles):
            at = self.plain.roles.get(role, np.full(1, -1))
            positions = set(at[at >= 0].tolist())
            for name in (name for name, of in SETS.items() if of == role):
                positions |= set(np.flatnonzero(self.plain.sets[name].any(0)).tolist())
            if not positions:
                raise UserError(f"no ablation prompt has a token {role!r}; ask for more prompts (prompts.ablation)")
            found |= np.isin(self.position, self.position[sorted(positions)]) & (self.position >= 0)
        return found


def _places(codes: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Place of each code in the sorted list; -1 where it is not in it."""
    at = np.minimum(np.searchsorted(codes, found), len(codes) - 1)
    places: np.ndarray = np.where(codes[at] == found, at, -1)
    return places


def _codes(prompts: TokenizedPrompts, plain: TokenizedPrompts) -> Int64[np.ndarray, "prompt pos"]:
    """A number for each token's kind of place, its distance from there, and its word; -1 for no place."""
    pos, length = np.arange(prompts.ids.shape[1]), prompts.length[:, None]
    inside = np.flatnonzero(plain.segment[0] >= 0)
    before, behind = int(inside[0]), int(plain.length[0]) - 1 - int(inside[-1])
    kind = np.where(pos < before, _BEFORE, np.where(pos >= length - behind, _BEHIND, _NOWHERE))
    offset = np.where(pos < before, pos, length - 1 - pos)
    for segment in range(int(prompts.segment.max()) + 1):
        own = prompts.segment == segment
        end = prompts.ids.shape[1] - 1 - own[:, ::-1].argmax(1)
        kind, offset = np.where(own, _IN_SEGMENT, kind), np.where(own, end[:, None] - pos, offset)
    word = np.where(_content(prompts), 0, prompts.ids + 1)
    code: np.ndarray = (kind * _OFFSETS + offset) * _IDS + word
    code[(kind == _NOWHERE) | (pos >= length)] = -1
    return code


def _content(prompts: TokenizedPrompts) -> Bool[np.ndarray, "prompt pos"]:
    """Objects and labels, which are other words in every prompt."""
    found: np.ndarray = prompts.sets["other_objects"] | prompts.sets["other_labels"]
    for role in (OBJECT, LABEL, QUERY_LABEL):
        at = prompts.roles[role]
        found[np.flatnonzero(at >= 0), at[at >= 0]] = True
    return found
