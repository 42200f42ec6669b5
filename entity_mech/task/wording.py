"""The sentences of the task, as templates, and which word of a template plays which role."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from entity_mech.errors import UserError


@dataclass(frozen=True)
class Wording:
    """The sentences of a prompt (method, section 1): segments joined by `separator`, `end`, then the query.

    segment: has {object} and {label} once each. query: has {label} once and ends with a word after it; the
    answer follows it. Templates are checked: UserError.
    """

    segment: str = "the {object} is in Box {label}"
    query: str = "Box {label} contains the"
    separator: str = ","
    end: str = "."

    def __post_init__(self) -> None:
        check_template(self.segment, "segment")
        if _slots(self.query) != ["{label}"] or not re.search(r"{label}\W.*\w$", self.query):
            raise UserError(f"query {self.query!r}: it needs {{label}} once, as a word, and another word at its end")
        if not self.end.strip() or len(self.end.split()) > 1 or len(self.separator.split()) > 1:
            raise UserError(f"separator {self.separator!r} and end {self.end!r} must be one mark each")


def check_template(template: str, name: str) -> None:
    """Raise UserError unless a segment's template has {object} and {label} once each, as words."""
    if _slots(template) != ["{label}", "{object}"]:
        raise UserError(f"{name} {template!r}: it needs {{object}} and {{label}}, once each and as words")


def _slots(template: str) -> list[str]:
    """What is in braces, sorted; nothing where a word is glued to a brace."""
    return [] if re.search(r"\w{|}\w", template) else sorted(re.findall(r"{.*?}", template))


Piece = tuple[str | None, str]


@lru_cache
def segment_pieces(template: str, plain: str) -> tuple[Piece, ...]:
    """A segment's template cut into (role, text); role None for blanks, marks and words without a role.

    plain: the unchanged template. There `the` is the word just before the object and `box` the one just before
    the label; `is` is the first word after the object and `in` the last before the box. In a changed template
    `is` and `in` are those same words, where they stand between object and label.
    """
    words = _words(template)
    roles: dict[int, str] = {}
    at = {text: i for i, text in enumerate(words) if text in ("{object}", "{label}")}
    first, last = at["{object}"], at["{label}"]
    roles[first], roles[last] = "object", "label"
    for role, place in (("the", first - 1), ("box", last - 1)):
        if place >= 0 and place not in roles:
            roles[place] = role
    between = [i for i in range(first + 1, last) if i not in roles]
    names = _linking_words(plain)
    for role, word in names.items():
        hits = [i for i in between if words[i] == word and i not in roles]
        if hits:
            roles[hits[0] if role == "is" else hits[-1]] = role
    return _pieces(template, roles)


@lru_cache
def query_pieces(template: str) -> tuple[Piece, ...]:
    """The query's template cut into (role, text).

    `query_box` is the word before the label, `contains` the word after it, `last` the last word; where only one
    word follows the label it is `last`.
    """
    words = _words(template)
    label, end = words.index("{label}"), len(words) - 1
    roles = {label: "query_label", label + 1: "contains"}
    if label > 0:
        roles[label - 1] = "query_box"
    roles[end] = "last"
    return _pieces(template, roles)


def _words(template: str) -> list[str]:
    return re.findall(r"{\w+}|\w+", template)


def _linking_words(plain: str) -> dict[str, str]:
    words = _words(plain)
    first, last = words.index("{object}"), words.index("{label}")
    between = words[first + 1 : last - 1]
    if not between:
        return {}
    return {"is": between[0]} if len(between) == 1 else {"is": between[0], "in": between[-1]}


def _pieces(template: str, roles: dict[int, str]) -> tuple[Piece, ...]:
    found: list[Piece] = []
    word = 0
    for text in re.findall(r"{\w+}|\w+|\W", template):
        is_word = text[0] == "{" or text[0].isalnum() or text[0] == "_"
        found.append((roles.get(word) if is_word else None, text))
        word += is_word
    return tuple(found)
