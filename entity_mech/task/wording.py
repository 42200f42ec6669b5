"""Templates of the task's sentences: what they must have, and which word of them plays which role.

A role is named by the word that plays it. `object` and `label` are the places in braces, `separator` is the mark
behind a segment, `query_label` the query's label, `last` the query's last word or mark. Any other word gives its
role its own name in small letters (`contains`, `don_t`), a mark its Unicode name (`equals_sign`). A name that is
taken gets `query_` in front when the word is the query's, else a number behind (`the_2`). The default wording's
roles are the, object, is, in, box, label, separator; query_box, query_label, contains, last.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from entity_mech.task.roles import LABEL, LAST, OBJECT, QUERY_LABEL, RESERVED, SEPARATOR

Piece = tuple[str | None, str]
_PLACES = {"{object}": OBJECT, "{label}": LABEL}


def template_problem(template: str) -> str:
    """What is wrong with a segment's template, to be read behind its text; empty when nothing is."""
    if _places(template) != ["{label}", "{object}"] or template != template.strip():
        return "should have {object} and {label}, once each and as words of their own"
    return ""


def query_problem(query: str) -> str:
    """What is wrong with a query's template, to be read behind its text; empty when nothing is."""
    if _places(query) != ["{label}"] or _parts(query)[-1] == "{label}" or query != query.strip():
        return "should have {label} once, as a word of its own, and another word or mark at its end"
    return ""


def mark_problem(mark: str) -> str:
    """What is wrong with a separator or an end mark, to be read behind its text; empty when nothing is."""
    return "" if all(map(_is_mark, mark)) else "should be punctuation without blanks"


@lru_cache
def segment_pieces(template: str, plain: str) -> tuple[Piece, ...]:
    """A segment's template cut into (role, text); role None for blanks and for words that have none.

    plain: the task's own template, whose words name the roles. In a changed template the first, second, ... of equal
    words has the role of the plain template's first, second, ...; other words have none. Marks at the end belong to
    the separator.
    """
    names: dict[str, list[str]] = {}
    taken: set[str] = set()
    for text in _parts(plain):
        if text not in _PLACES:
            names.setdefault(text.lower(), []).append(_new_name(slug(text), taken))
    found: list[Piece] = []
    for text in _parts(template, blanks=True):
        if text in _PLACES:
            found.append((_PLACES[text], text))
        else:
            own = names.get(text.lower())
            found.append((own.pop(0) if own else None, text))
    last = found[-1][1]
    if last not in _PLACES and _is_mark(last[-1]):
        found[-1] = (SEPARATOR, last)
    return tuple(found)


@lru_cache
def query_pieces(query: str, plain: str) -> tuple[Piece, ...]:
    """The query's template cut into (role, text); role None for blanks. plain: the segment's template."""
    taken = {role for role, _ in segment_pieces(plain, plain) if role is not None}
    found: list[Piece] = []
    for text in _parts(query, blanks=True):
        if text.isspace():
            found.append((None, text))
        elif text == "{label}":
            found.append((QUERY_LABEL, text))
        else:
            name = slug(text)
            found.append((_new_name(f"query_{name}" if name in taken | RESERVED else name, taken), text))
    found[-1] = (LAST, found[-1][1])
    return tuple(found)


def roles_of(pieces: Iterable[Piece]) -> tuple[str, ...]:
    """Roles of a template's pieces, in the order of the text."""
    return tuple(role for role, _ in pieces if role is not None)


def slug(text: str) -> str:
    """A word in small letters, marks inside it as underscores; marks alone by their Unicode names."""
    if all(map(_is_mark, text)):
        return re.sub(r"\W+", "_", " ".join(unicodedata.name(char, "mark") for char in text).lower())
    return "".join("_" if _is_mark(char) else char for char in text.lower())


def sentence_case(text: str) -> str:
    """The text with a capital in front, unless that would change its length."""
    first = text[:1].upper()
    return first + text[1:] if len(first) == 1 else text


def _new_name(name: str, taken: set[str]) -> str:
    """The name, with a number behind it when it is taken or reserved; it is taken from then on."""
    free, count = name, 1
    while free in taken | RESERVED:
        count += 1
        free = f"{name}_{count}"
    taken.add(free)
    return free


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] in "PS"


def _places(template: str) -> list[str]:
    """What is in braces, sorted; nothing where a word is glued to a brace."""
    beside = [*re.findall(r"(\S){", template), *re.findall(r"}(\S)", template)]
    glued = not all(map(_is_mark, beside)) or "}{" in template
    return [] if glued else sorted(re.findall(r"{.*?}", template))


def _parts(template: str, blanks: bool = False) -> list[str]:
    """Places, words and marks of a template in order; marks inside a word belong to it."""
    found: list[str] = []
    for text in re.findall(r"{\w+}|\s+|[^\s{}]+", template):
        if text in _PLACES or text.isspace():
            found.append(text)
            continue
        letters = [i for i, char in enumerate(text) if not _is_mark(char)]
        start, end = (letters[0], letters[-1] + 1) if letters else (len(text), len(text))
        found += [part for part in (text[:start], text[start:end], text[end:]) if part]
    return [part for part in found if blanks or not part.isspace()]
