"""Position probes: the position desideratum with one change to the source prompt each (method, section 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entity_mech.errors import UserError
from entity_mech.task.counterfactuals import (
    Queries,
    beside,
    desideratum,
    lacking_beside,
    next_segment,
    unused,
)
from entity_mech.task.pair_kinds import PLAIN_PROBE, what_pairs_need
from entity_mech.task.prompts import PLAIN, Change
from entity_mech.task.scenes import Scenes, SceneSource
from entity_mech.task.task import Task

_WITH_SEGMENT = ("segment_at_start", "segment_at_end")  # probes that add a segment of words that the scene lacks


@dataclass(frozen=True)
class ProbeSources:
    """Source prompts of a probe, in arrays over rows.

    scenes: with the added segment, if any. index: the queried segment in the order of the changed text. changes: one
    per row. target: place of the target object in the word list; its index in the base scene was counted before
    the change.
    """

    scenes: Scenes
    index: np.ndarray
    changes: list[Change]
    target: np.ndarray


def probe_sources(source: SceneSource, base: Queries, probe: str, task: Task) -> ProbeSources:
    """Sources of a probe, or of the plain position desideratum, for every base row.

    Raises UserError for a probe that the task does not have and when the words leave too little choice.
    """
    allowed = (PLAIN_PROBE, *task.probes)
    if probe not in allowed:
        raise UserError(f"probe {probe!r}: allowed are {', '.join(allowed)}")
    draw = next_segment if probe == "next_segment" else _position
    found, target = draw(source, base)
    scenes, index = found.scenes, found.index
    if probe in _WITH_SEGMENT:
        extra = unused(source, scenes, 1, f"probe {probe}")
        at_start = probe == "segment_at_start"
        scenes = beside(extra, scenes) if at_start else beside(scenes, extra)
        index = index + at_start
    if probe == "boxes_before_segment":
        changes = _boxes_before(source, found, task.texts.boxes_before_segment or "")
    else:
        changes = [_change(probe, task)] * len(base)
    return ProbeSources(scenes, index, changes, target)


def probe_lacking(probe: str, task: Task, objects: int, labels: int) -> str:
    """What so many objects and labels lack for the pairs of a probe; empty when nothing is."""
    kind = "next_segment" if probe == "next_segment" else PLAIN_PROBE
    count = 1 if probe in _WITH_SEGMENT else 0
    if probe == "boxes_before_segment":
        count = (task.texts.boxes_before_segment or "").count("{label}")
    needed = what_pairs_need(kind, task.boxes, objects, labels)
    return f"needs {needed}" if needed else lacking_beside(count, task.boxes, objects, labels)


def _position(source: SceneSource, base: Queries) -> tuple[Queries, np.ndarray]:
    return desideratum(source, base, "position")


def _change(probe: str, task: Task) -> Change:
    """The change of a text that is the same for every row."""
    match probe:
        case "text_at_start":
            return Change(before=(0, task.texts.text_at_start or ""))
        case "text_at_end":
            return Change(after=task.texts.text_at_end)
        case "no_commas":
            return Change(separator="")
        case "extra_comma":
            # Behind a segment's first place: behind its last one there is a separator already.
            place = "{label}" if task.label_first else "{object}"
            return Change(every=task.template.replace(place, place + (task.separator or ",")))
        case "extra_words" | "box_first" | "is_not_in":
            return Change(queried=getattr(task.texts, probe))
    return PLAIN


def _boxes_before(source: SceneSource, queries: Queries, template: str) -> list[Change]:
    count = template.count("{label}")
    if not count:
        return [Change(before=(int(index), template)) for index in queries.index]
    extra = unused(source, queries.scenes, count, "probe boxes_before_segment").labels
    changes = []
    for index, places in zip(queries.index.tolist(), extra.tolist(), strict=True):
        text = template
        for place in places:
            text = text.replace("{label}", source.words.labels[place], 1)
        changes.append(Change(before=(index, text)))
    return changes
