"""What config keys are made of: described, checked strictly, unknown ones refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag


@dataclass(frozen=True)
class Pattern:
    """What a text may look like, and how to say so."""

    regex: str
    words: str


NAME = Pattern(
    r"^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$", "letters and digits, joined by single dots, dashes or underscores"
)
IDENTIFIER = Pattern(r"^[a-z][a-z0-9_]*$", "lower-case letters, digits and underscores, a letter first")
LETTER = Pattern(r"^[A-Z]$", "one capital letter")
LETTERS = Pattern(r"^[A-Z]+$", "capital letters")
DEVICE = Pattern(r"^(auto|cpu|cuda(:\d+)?)$", "auto, cpu, cuda or cuda:N")


def key(
    default: Any,
    text: str,
    *,
    unit: str = "",
    cost: str = "",
    pattern: Pattern | None = None,
    words: Sequence[str] = (),
    **limits: Any,
) -> Any:
    """A config key. text: what it means. unit, cost: for the documentation. Callable defaults are called.

    pattern: what its text may look like; its words stand in messages and in the documentation. words: what the
    items of a list may be, where `load.py` checks them.
    """
    said = {"x-unit": unit, "x-cost": cost, "x-words": pattern.words if pattern else ""}
    extra: dict[str, Any] = {name: text for name, text in said.items() if text}
    if words:
        extra["items"] = {"type": "string", "enum": list(words)}
    if pattern:
        limits["pattern"] = pattern.regex
    given = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**given, description=text, json_schema_extra=extra or None, **limits)


class Section(BaseModel):
    """A part of the config: unknown keys are errors, and integers and strings are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "(word)"
    return "(list)" if isinstance(value, (list, tuple)) else "(other)"


# Keys that hold a word or something else. The tags let an error be about the one that was meant.
KIND = Discriminator(_kind)
Real = Annotated[float, Field(strict=False, allow_inf_nan=False)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Keep = Annotated[Annotated[Literal["knee"], Tag("(word)")] | Annotated[Natural, Tag("(other)")], KIND]
BatchSize = Annotated[Annotated[Literal["auto"], Tag("(word)")] | Annotated[Positive, Tag("(other)")], KIND]
Objects = Annotated[Annotated[str, Tag("(word)")] | Annotated[list[str], Tag("(list)")], KIND]
