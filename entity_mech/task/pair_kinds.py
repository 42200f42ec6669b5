"""What pairs of prompts can be made for: desiderata and position probes, with the probes' texts."""

from __future__ import annotations

from dataclasses import asdict, dataclass

DESIDERATA = ("object", "label", "position", "known_object")
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
# Probes that put another template in the queried segment's place.
REWORDED = ("extra_words", "box_first", "is_not_in")


@dataclass(frozen=True)
class ProbeTexts:
    """The texts of the probes; None leaves a probe out.

    extra_words, box_first, is_not_in: templates of the queried segment. boxes_before_segment: each {label} in it
    becomes a label that the scene does not have (the published text has no such place: "..., Box PP, Box BB and
    Box AA").
    """

    text_at_start: str | None = "there are a bunch of boxes containing objects"
    text_at_end: str | None = "these are a bunch of boxes containing objects"
    extra_words: str | None = "the {object} is contained in the Box {label}"
    box_first: str | None = "Box {label} contains the {object}"
    is_not_in: str | None = "the {object} is not in Box {label}"
    boxes_before_segment: str | None = "there are three additional boxes, Box {label}, Box {label} and Box {label}"


def in_words(kind: str) -> str:
    """The name of a desideratum or a probe in a sentence: `known object`."""
    return kind.replace("_", " ")


def what_pairs_need(kind: str, boxes: int, objects: int, labels: int) -> str:
    """What there is too little of for pairs of a desideratum or of `next_segment`; empty where they can be made.

    objects, labels: how many words there are to draw from.
    """
    three = boxes < 3 and "three boxes, as the target's, the base's and the source's index all differ"
    label = labels <= boxes and "a label that is not in the base scene"
    needed = {
        "object": objects <= boxes and "an object that is not in the base scene",
        "label": three,
        "position": label,
        "known_object": three or label,
        "next_segment": three or label,
    }[kind]
    return needed or ""


NO_TEXTS = ProbeTexts(**dict.fromkeys(asdict(ProbeTexts())))
