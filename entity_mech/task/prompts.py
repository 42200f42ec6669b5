"""A scene as text, with the place of every role in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from entity_mech.task.roles import LABEL, OBJECT, SEPARATOR
from entity_mech.task.scenes import Scene
from entity_mech.task.task import Task
from entity_mech.task.wording import Piece, segment_pieces, sentence_case

Span = tuple[int, int]


@dataclass(frozen=True)
class Prompt:
    """A prompt and its roles as character spans [start, end).

    scene: id of the scene within the file. objects, labels: one per segment, in the order of the text.
    query_index: the segment that is asked for; -1 when the query's label is in no segment (ablation prompts).
    answer: the correct object; None when the query's label is in no segment.
    role_segment: the segment that the context's roles mean: the queried one, or the one drawn for a corrupted
    prompt; -1 for none. segments: role -> span in each segment, None where the segment has no such word.
    query: role -> span.
    """

    scene: int
    text: str
    objects: tuple[str, ...]
    labels: tuple[str, ...]
    query_index: int
    answer: str | None
    role_segment: int
    segments: dict[str, tuple[Span | None, ...]]
    query: dict[str, Span]


@dataclass(frozen=True)
class Change:
    """What differs from the plain wording: the change of a position probe (method, section 1).

    queried: template of the queried segment. every: template of all segments. separator: between segments.
    before: (segment, text) put in front of a segment, with a separator. after: text behind the last segment.
    """

    queried: str | None = None
    every: str | None = None
    separator: str | None = None
    before: tuple[int, str] | None = None
    after: str | None = None


PLAIN = Change()


class _Text:
    """Text in the making."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0

    def add(self, text: str) -> Span:
        self.parts.append(text)
        start, self.length = self.length, self.length + len(text)
        return start, self.length

    def add_pieces(self, pieces: tuple[Piece, ...], fill: dict[str, str]) -> dict[str, Span]:
        spans = {}
        for role, text in pieces:
            span = self.add(fill.get(text, text))
            if role is not None:
                spans[role] = span
        return spans


def render(
    scene: Scene,
    query_index: int,
    task: Task,
    *,
    scene_id: int = 0,
    query_label: str | None = None,
    role_segment: int | None = None,
    change: Change = PLAIN,
) -> Prompt:
    """The prompt that asks a scene for the object of segment `query_index`.

    query_label: another label to ask for (the answer is then None, unless it is that segment's own).
    role_segment: the segment that the context's roles mean, by default the queried one.
    """
    own = scene.labels[query_index] if query_index >= 0 else None
    asked = own if query_label is None else query_label
    if asked is None:
        raise ValueError("a prompt without a queried segment needs a query label")
    text = _Text()
    spans = _add_segments(text, scene, query_index, task, change)
    query = text.add_pieces(task.query_pieces, {"{label}": asked})
    whole = "".join(text.parts)
    # A capital would make another word of an object or a label.
    capital = task.capitalize and all(spans[0][place][0] > 0 for place in (OBJECT, LABEL))
    return Prompt(
        scene=scene_id,
        text=sentence_case(whole) if capital else whole,
        objects=scene.objects,
        labels=scene.labels,
        query_index=query_index,
        answer=scene.objects[query_index] if query_index >= 0 and asked == own else None,
        role_segment=query_index if role_segment is None else role_segment,
        segments={role: tuple(found.get(role) for found in spans) for role in task.segment_roles},
        query=query,
    )


def _add_segments(text: _Text, scene: Scene, query_index: int, task: Task, change: Change) -> list[dict[str, Span]]:
    """Write the context, and return the spans of each segment's roles."""
    spans: list[dict[str, Span]] = []
    separator = task.separator if change.separator is None else change.separator
    last = len(scene.objects) - 1
    for i, (obj, label) in enumerate(zip(scene.objects, scene.labels, strict=True)):
        if change.before is not None and change.before[0] == i:
            text.add(f"{change.before[1]}{separator} ")
        template = change.queried if i == query_index and change.queried else change.every or task.template
        pieces = segment_pieces(template, task.template)
        found = text.add_pieces(pieces, {"{object}": obj, "{label}": label})
        mark = task.end if i == last and change.after is None else separator
        if mark:
            start, end = text.add(mark)
            found[SEPARATOR] = found.get(SEPARATOR, (start, end))[0], end
        text.add(" ")
        spans.append(found)
    if change.after is not None:
        text.add(f"{change.after}{task.end} ")
    return spans


def with_scene_id(prompt: Prompt, scene_id: int) -> Prompt:
    """The same prompt under another scene id."""
    return replace(prompt, scene=scene_id)
