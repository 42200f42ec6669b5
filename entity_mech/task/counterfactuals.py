"""Scenes that differ from others in a chosen way: corrupted prompts, their null, and sources of desiderata.

Everything here is arrays over rows: a row is a scene of the split and the index that it is asked for. What is drawn
comes from the same share of scenes as the rows themselves (method, section 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from entity_mech.errors import UserError
from entity_mech.task.pair_kinds import what_pairs_need
from entity_mech.task.scenes import Scenes, SceneSource, hashes

_ROUNDS = 200
_POOL = 1024


def at(table: np.ndarray, index: np.ndarray) -> np.ndarray:
    """One entry of each row: [row, box], [row] -> [row]."""
    return np.take_along_axis(table, index[:, None], 1)[:, 0]


@dataclass(frozen=True)
class Queries:
    """Scenes, each asked for the box at one index: int64 [row]."""

    scenes: Scenes
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: np.ndarray) -> Queries:
        return Queries(self.scenes[rows], self.index[rows])

    @property
    def label(self) -> np.ndarray:
        """The label asked for, int64 [row]."""
        return at(self.scenes.labels, self.index)

    @property
    def answer(self) -> np.ndarray:
        """The correct object, int64 [row]."""
        return at(self.scenes.objects, self.index)


Accepts = Callable[[Queries, Queries], np.ndarray]


def every_box(source: SceneSource, n: int) -> Queries:
    """n rows: different scenes, each asked for all its boxes in turn; the last one for fewer where n asks for it."""
    scenes = source.draw_distinct(-(-n // source.boxes))
    row = np.arange(n)
    return Queries(scenes[row // source.boxes], row % source.boxes)


def other_index(source: SceneSource, index: np.ndarray) -> np.ndarray:
    """Another index than the given one, uniform: int64 [row] -> int64 [row]."""
    found: np.ndarray = (index + source.rng.integers(1, source.boxes, len(index))) % source.boxes
    return found


def differs(source: SceneSource, a: Scenes, b: Scenes) -> np.ndarray:
    """Where two lists of scenes hold different ones, bool [row]."""
    found: np.ndarray = hashes(a, source.words) != hashes(b, source.words)
    return found


def draw_partners(source: SceneSource, base: Queries, accepts: Accepts, what: str) -> Queries:
    """Another scene for each row, asked at another index, drawn anew until `accepts(base, partner)` is true.

    Raises UserError that says `what` was wanted when some rows find none.
    """
    scenes = Scenes(np.empty_like(base.scenes.objects), np.empty_like(base.scenes.labels))
    index = np.empty_like(base.index)
    left = np.arange(len(base))
    for _ in range(_ROUNDS):
        if not len(left):
            return Queries(scenes, index)
        tries = max(1, _POOL // len(left))
        rows = np.repeat(left, tries)
        tried = base[rows]
        found = Queries(source.draw(len(rows)), other_index(source, tried.index))
        good = differs(source, found.scenes, tried.scenes) & accepts(tried, found)
        rows, first = np.unique(rows[good], return_index=True)
        chosen = found[np.flatnonzero(good)[first]]
        scenes.objects[rows], scenes.labels[rows] = chosen.scenes.objects, chosen.scenes.labels
        index[rows] = chosen.index
        left = np.setdiff1d(left, rows, assume_unique=True)
    raise UserError(
        f"{what}: no fitting scene was found for {len(left)} of {len(base)} prompts; {source.boxes} boxes with "
        f"{len(source.words.objects)} objects and {len(source.words.labels)} labels leave too little choice"
    )


def corrupted(source: SceneSource, clean: Queries) -> tuple[Queries, np.ndarray, np.ndarray]:
    """Corrupted partners of clean prompts: another scene, asked at another index, for a label it does not have.

    Returns the partners, the label that is asked for instead (absent from the partner's scene) and the segment
    that stands for the queried one, both uniform, int64 [row]. Raises UserError when no label is absent.
    """
    found = draw_partners(source, clean, lambda a, b: np.ones(len(b), bool), "corrupted prompts")
    n, size = len(found), len(source.words.labels)
    if size == source.boxes:
        raise UserError(f"corrupted prompts: {size} labels for {source.boxes} boxes leave none that is absent")
    order = source.rng.random((n, size))
    np.put_along_axis(order, found.scenes.labels, -1.0, 1)
    return found, order.argmax(1), source.rng.integers(0, source.boxes, n)


def null(source: SceneSource, clean: Queries) -> Queries:
    """Null partners of clean prompts: another scene with the same answer in the same segment, asked for it.

    Uniform over such scenes of the share. Raises UserError when some rows find none.
    """
    scenes = Scenes(np.empty_like(clean.scenes.objects), np.empty_like(clean.scenes.labels))
    left = np.arange(len(clean))
    for _ in range(_ROUNDS):
        if not len(left):
            return Queries(scenes, clean.index)
        rows = np.repeat(left, max(8, _POOL // len(left)))
        found = source.candidates(len(rows))
        _put_object(found.objects, clean[rows].answer, clean.index[rows])
        good = source.kept(found) & differs(source, found, clean.scenes[rows])
        rows, first = np.unique(rows[good], return_index=True)
        chosen = found[np.flatnonzero(good)[first]]
        scenes.objects[rows], scenes.labels[rows] = chosen.objects, chosen.labels
        left = np.setdiff1d(left, rows, assume_unique=True)
    raise UserError(
        f"null prompts: {len(left)} of {len(clean)} prompts have no other scene with the same answer in the same "
        "place; use more words"
    )


def _put_object(objects: np.ndarray, wanted: np.ndarray, index: np.ndarray) -> None:
    """Put an object at an index of each row, in place; where the row has it already, the two change places."""
    rows = np.arange(len(objects))
    has = objects == wanted[:, None]
    there = has.any(1)
    objects[rows[there], has.argmax(1)[there]] = objects[rows[there], index[there]]
    objects[rows, index] = wanted


def desideratum(source: SceneSource, base: Queries, kind: str) -> tuple[Queries, np.ndarray]:
    """Source prompts of a desideratum and the object that patching them should give, int64 [row].

    object: the source's own answer, which is not in the base scene. label: the base object in the box with the
    source's query label; that box is neither the base's queried one nor at the source's queried index. position:
    the base object at the source's queried index; the source's query label is not in the base scene. known_object:
    the source's own answer, which is in the base scene, but neither in the base's queried box nor at the source's
    queried index; the source's query label is not in the base scene.
    Raises UserError when the words leave too little choice.
    """
    accepts = _ACCEPTS[kind]
    _check_possible(source, kind)
    found = draw_partners(source, base, accepts, f"pairs for desideratum {kind}")
    if kind in ("object", "known_object"):
        return found, found.answer
    place = _place_of_label(base, found) if kind == "label" else found.index
    return found, at(base.scenes.objects, place)


def next_segment(source: SceneSource, base: Queries) -> tuple[Queries, np.ndarray]:
    """As the position desideratum, but with the segment after the source's queried one as target.

    The first segment follows the last. The target is never the base's own answer.
    """
    _check_possible(source, "next_segment")

    def after(a: Queries, b: Queries) -> np.ndarray:
        good: np.ndarray = ((b.index + 1) % source.boxes != a.index) & _unknown_label(a, b)
        return good

    found = draw_partners(source, base, after, "pairs for the next segment as target")
    return found, at(base.scenes.objects, (found.index + 1) % source.boxes)


def unused(source: SceneSource, scenes: Scenes, count: int, what: str) -> Scenes:
    """Objects and labels that a scene does not have: int64 [scene, count], each different.

    Raises UserError that says `what` they are for when there are not enough.
    """
    objects, labels = len(source.words.objects), len(source.words.labels)
    if problem := lacking_beside(count, source.boxes, objects, labels):
        raise UserError(f"{what}: {problem}")
    found = []
    for have, size in ((scenes.objects, objects), (scenes.labels, labels)):
        order = source.rng.random((len(scenes), size))
        np.put_along_axis(order, have, 2.0, 1)
        found.append(np.argsort(order, axis=1)[:, :count])
    return Scenes(*found)


def beside(a: Scenes, b: Scenes) -> Scenes:
    """The boxes of `a` and then those of `b`, row by row."""
    pairs = ((a.objects, b.objects), (a.labels, b.labels))
    return Scenes(*(np.concatenate(pair, axis=1) for pair in pairs))


def _new_answer(base: Queries, source: Queries) -> np.ndarray:
    good: np.ndarray = (base.scenes.objects != source.answer[:, None]).all(1)
    return good


def _unknown_label(base: Queries, source: Queries) -> np.ndarray:
    good: np.ndarray = (base.scenes.labels != source.label[:, None]).all(1)
    return good


def _known_label(base: Queries, source: Queries) -> np.ndarray:
    return _elsewhere(_place_of_label(base, source), base, source)


def _known_object(base: Queries, source: Queries) -> np.ndarray:
    place = _place_of(base.scenes.objects, source.answer)
    good: np.ndarray = _elsewhere(place, base, source) & _unknown_label(base, source)
    return good


def _elsewhere(place: np.ndarray, base: Queries, source: Queries) -> np.ndarray:
    """Where a box of the base is neither its queried one nor at the source's queried index, bool [row]."""
    good: np.ndarray = (place >= 0) & (place != base.index) & (place != source.index)
    return good


def _place_of_label(base: Queries, source: Queries) -> np.ndarray:
    return _place_of(base.scenes.labels, source.label)


def _place_of(table: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index of a word in its row, [row, box], [row] -> [row]; -1 where it is absent."""
    has = table == wanted[:, None]
    return np.where(has.any(1), has.argmax(1), -1)


def lacking_beside(count: int, boxes: int, objects: int, labels: int) -> str:
    """What they lack for so many objects and labels beside those of a scene; empty when nothing is."""
    for kind, size in (("objects", objects), ("labels", labels)):
        if size < boxes + count:
            return f"{boxes} boxes need {boxes + count} {kind}, and there are {size}"
    return ""


_ACCEPTS: dict[str, Accepts] = {
    "object": _new_answer,
    "label": _known_label,
    "position": _unknown_label,
    "known_object": _known_object,
}


def _check_possible(source: SceneSource, kind: str) -> None:
    objects, labels = len(source.words.objects), len(source.words.labels)
    if needed := what_pairs_need(kind, source.boxes, objects, labels):
        raise UserError(
            f"{kind}: needs {needed}; there are {source.boxes} boxes, {objects} objects and {labels} labels"
        )
