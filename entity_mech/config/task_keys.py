"""Sections of the config about the task: its scenes, its sentences, and other sentences for the same scenes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import model_validator

from entity_mech.config.keys import LETTERS, NAME, NAME_LENGTH, Objects, Section, Text, key
from entity_mech.task.pair_kinds import ProbeTexts
from entity_mech.task.task import QUERY, TEMPLATE, default_texts

_TEXTS = ProbeTexts()


class ProbeTextKeys(Section):
    """Texts of the position probes; without its text (null) a probe is left out.

    The defaults belong to the default template. With another one the texts are null, unless they are given.
    """

    text_at_start: Text | None = key(_TEXTS.text_at_start, "Text in front of the first segment.")
    text_at_end: Text | None = key(_TEXTS.text_at_end, "Text behind the last segment.")
    extra_words: Text | None = key(_TEXTS.extra_words, "Template of the queried segment, with more words.")
    box_first: Text | None = key(
        _TEXTS.box_first,
        "Template of the queried segment, with the label first. None where the task's own template has it first.",
    )
    is_not_in: Text | None = key(_TEXTS.is_not_in, "Template of the queried segment, negated.")
    boxes_before_segment: Text | None = key(
        _TEXTS.boxes_before_segment, "Text before the queried segment; each {label} becomes a label of no segment."
    )


class TaskKeys(Section):
    """Scenes and prompts: `The {object} is in Box {label}, ... . Box {label} contains the`, or your own wording."""

    template: Text = key(
        TEMPLATE,
        "Sentence of a segment, with {object} and {label} once each. Each other word is a token role, named by the "
        "word in small letters (the, is, in, box).",
    )
    query: Text = key(
        QUERY,
        "The question, with {label} once and another word or mark at its end. The answer, an object, follows it.",
    )
    separator: Text = key(",", "Punctuation between segments; may be empty.")
    end: Text = key(".", "Punctuation behind the last segment.")
    capitalize: bool = key(True, "Whether a prompt begins with a capital letter.")
    boxes: int = key(7, "Boxes in a scene; chance is 1 / boxes.", unit="boxes", ge=2, le=25)
    objects: Objects = key(
        "builtin",
        "Objects that may be in a box: `builtin`, a list of words, or the path of a text file (one word per "
        "line) or a CSV file (its first column, below a header such as `object` or `word`). A word is used when it "
        "is one token in every tokenizer of the run.",
    )
    labels: str = key("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "Letters that may label a box.", pattern=LETTERS, max_length=26)
    probe_texts: ProbeTextKeys = key(ProbeTextKeys, "What the position probes write.")

    @model_validator(mode="before")
    @classmethod
    def _texts_of_the_template(cls, given: Any) -> Any:
        """Another template starts without the default one's texts."""
        template = given.get("template", TEMPLATE) if isinstance(given, dict) else TEMPLATE
        texts = given.get("probe_texts", {}) if isinstance(given, dict) else None
        if template == TEMPLATE or not isinstance(template, str) or not isinstance(texts, dict):
            return given
        return {**given, "probe_texts": {**asdict(default_texts(template)), **texts}}


class Wording(Section):
    """The same scenes in other words. A key that is not given is the task's."""

    name: str = key(..., "Name of the wording in tables and on pages.", pattern=NAME, max_length=NAME_LENGTH)
    template: Text | None = key(None, "Sentence of a segment, as in `task.template`.")
    query: Text | None = key(None, "The question, as in `task.query`.")
    separator: Text | None = key(None, "Punctuation between segments.")
    end: Text | None = key(None, "Punctuation behind the last segment.")
    capitalize: bool | None = key(None, "Whether a prompt begins with a capital letter.")
