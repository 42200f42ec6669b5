"""Position probes: the position desideratum with one change to the source prompt each (method, section 1)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from entity_mech.errors import UserError
from entity_mech.task.counterfactuals import Queries, beside, desideratum, next_segment, unused
from entity_mech.task.prompts import PLAIN, Change
from entity_mech.task.scenes import Scenes, SceneSource
from entity_mech.task.wording import Wording, check_template

PLAIN_PROBE = "position"
PROBES = (
    "text_at_start",
    "text_at_end",
    "extra_words",
    "no_commas",
    "extra_comma",
    "segment_at_start",
    "segment_at_end",
    "boxes_before_segment",
    "next_segment",
    "box_first",
    "is_not_in",
)


@dataclass(frozen=True)
class ProbeTexts:
    """The texts of the probes.

    extra_words, box_first, is_not_in: templates of the queried segment. boxes_before_segment: each {label} in it
    becomes a label that the scene does not have (the published text has no such place: "..., Box PP, Box BB and
    Box AA"). Templates are checked: UserError.
    """

    text_at_start: str = "there are a bunch of boxes containing objects"
    text_at_end: str = "these are a bunch of boxes containing objects"
    extra_words: str = "the {object} is contained in the Box {label}"
    box_first: str = "Box {label} contains the {object}"
    is_not_in: str = "the {object} is not in Box {label}"
    boxes_before_segment: str = "there are three additional boxes, Box {label}, Box {label} and Box {label}"

    def __post_init__(self) -> None:
        for name in ("extra_words", "box_first", "is_not_in"):
            check_template(getattr(self, name), f"probe {name}")
        for field in fields(self):
            if not getattr(self, field.name).strip():
                raise UserError(f"probe {field.name}: its text is empty")


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


def probe_sources(
    source: SceneSource, base: Queries, probe: str, wording: Wording, texts: ProbeTexts
) -> ProbeSources:
    """Sources of a probe, or of the plain position desideratum, for every base row.

    Raises UserError for an unknown probe and when the words leave too little choice.
    """
    if probe not in (*PROBES, PLAIN_PROBE):
        raise UserError(f"probe {probe!r}: allowed are {', '.join((PLAIN_PROBE, *PROBES))}")
    draw = next_segment if probe == "next_segment" else _position
    found, target = draw(source, base)
    scenes, index = found.scenes, found.index
    if probe in ("segment_at_start", "segment_at_end"):
        extra = unused(source, scenes, 1, f"probe {probe}")
        at_start = probe == "segment_at_start"
        scenes = beside(extra, scenes) if at_start else beside(scenes, extra)
        index = index + at_start
    if probe == "boxes_before_segment":
        changes = _boxes_before(source, found, texts.boxes_before_segment)
    else:
        changes = [_change(probe, wording, texts)] * len(base)
    return ProbeSources(scenes, index, changes, target)


def _position(source: SceneSource, base: Queries) -> tuple[Queries, np.ndarray]:
    return desideratum(source, base, "position")


def _change(probe: str, wording: Wording, texts: ProbeTexts) -> Change:
    """The change of a text that is the same for every row."""
    match probe:
        case "text_at_start":
            return Change(before=(0, texts.text_at_start))
        case "text_at_end":
            return Change(after=texts.text_at_end)
        case "no_commas":
            return Change(separator="")
        case "extra_comma":
            return Change(every=wording.segment.replace("{object}", "{object}" + (wording.separator or ",")))
        case "extra_words" | "box_first" | "is_not_in":
            return Change(queried=getattr(texts, probe))
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
