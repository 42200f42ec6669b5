"""Sentences about what is wrong in a config: key, value, what is allowed, nearest spelling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from entity_mech.config.keys import SAID, TAGS
from entity_mech.errors import shown

ROOT = "(the config)"
_SHAPES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text (quote it when it looks like a number)",
    "list_type": "a list",
    "model_type": "keys with values",
    "dict_type": "keys with values",
}
# What a key that takes a word or something else takes beside the word.
_OTHERWISE = {
    "keep": "a whole number",
    "batch_size": "a whole number",
    "receivers": "{search: ..., input: ...}",
}
_LIMITS = {
    "greater_than_equal": ("at least {}", "ge"),
    "greater_than": ("more than {}", "gt"),
    "less_than_equal": ("at most {}", "le"),
    "less_than": ("less than {}", "lt"),
}


def dotted(path: Iterable[str | int]) -> str:
    """`models[2].dtype` for ("models", 2, "dtype")."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or ROOT


def nearest(word: object, allowed: Iterable[str]) -> str:
    """` Did you mean 'x'?` when a word of `allowed` is spelled like `word`, else nothing."""
    words = list(allowed)
    lower = {other.lower(): other for other in words}
    found = get_close_matches(str(word).lower(), list(lower), n=1, cutoff=0.6)
    return f" Did you mean {lower[found[0]]!r}?" if found else ""


def not_among(path: Iterable[str | int], value: object, what: str, allowed: Sequence[str]) -> str:
    """Sentence for a value that should be one of a few words."""
    choice = f"{what}: {', '.join(allowed)}" if allowed else f"{what}, of which there are none here"
    return f"{dotted(path)}: {shown(value)} is not {choice}.{nearest(value, allowed)}"


def sentences(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One sentence for each thing that pydantic found."""
    return [_sentence(found, model) for found in error.errors(include_url=False)]


def sections(error: ValidationError) -> set[str]:
    """Top-level keys in which pydantic found something."""
    return {str(found["loc"][0]) for found in error.errors(include_url=False) if found["loc"]}


def _sentence(found: Any, model: type[BaseModel]) -> str:
    path = tuple(part for part in found["loc"] if part not in TAGS)
    kind, value, context = found["type"], found["input"], found.get("ctx", {})
    if kind == "extra_forbidden":
        path = (*(part for part in found["loc"][:-1] if part not in TAGS), found["loc"][-1])
        allowed = keys_at(model, path[:-1])
        near = nearest(path[-1], allowed)
        return f"{dotted(path)}: there is no such key. Allowed here: {', '.join(allowed)}.{near}"
    if kind == "missing":
        return f"{dotted(path)}: this key is missing."
    if kind == "literal_error":
        other = _OTHERWISE.get(_last_name(path), "") if "(word)" in found["loc"] else ""
        return not_among(path, value, "one of", _words(context["expected"]) + ([other] if other else []))
    if kind == "union_tag_invalid":
        return f"{dotted(path)}: {shown(value)} should be text or a list."
    if kind == "string_pattern_mismatch":
        return f"{dotted(path)}: {shown(value)} should be {_pattern_words(model, path)}."
    if kind in _LIMITS:
        text, limit = _LIMITS[kind]
        return f"{dotted(path)}: {shown(value)} should be {text.format(context[limit])}."
    if kind == SAID:
        return f"{dotted(path)}: {shown(value)} {context['text']}."
    if kind == "string_too_long":
        most = context["max_length"]
        return f"{dotted(path)}: {shown(value)} has {len(value)} characters; at most {most} are allowed."
    if kind == "too_long":
        return f"{dotted(path)}: should have at most {context['max_length']} entries, and has {len(value)}."
    if kind in ("too_short", "string_too_short"):
        return f"{dotted(path)}: should not be empty."
    if kind in _SHAPES:
        return f"{dotted(path)}: {shown(value)} should be {_SHAPES[kind]}."
    return f"{dotted(path)}: {shown(value)}: {found['msg']}."


def _last_name(path: Sequence[str | int]) -> str:
    return next((part for part in reversed(path) if isinstance(part, str)), "")


def _words(expected: str) -> list[str]:
    """The words of pydantic's `'a', 'b' or 'c'`."""
    return [part.strip(" '") for part in expected.replace(" or ", ", ").split(",")]


def _pattern_words(model: type[BaseModel], path: Sequence[str | int]) -> str:
    """What the pattern of the key at a path of the config allows, in words."""
    names = [part for part in path if isinstance(part, str)]
    extra = _section_at(model, names[:-1]).model_fields[names[-1]].json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["x-words"])


def keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Keys allowed at a path of the config."""
    return list(_section_at(model, path).model_fields)


def _section_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel]:
    current: type[BaseModel] = model
    for part in path:
        if isinstance(part, str):
            current = _section_of(current.model_fields[part].annotation) or current
    return current


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section inside a field's type: itself, an item of a list, or one side of a choice."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _section_of(inner)
        if found is not None:
            return found
    return None
