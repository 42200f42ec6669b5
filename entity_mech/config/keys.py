"""What config keys are made of: described, checked strictly, unknown ones refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from entity_mech.errors import UserError
from entity_mech.models.sources import local_path


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


TAGS = ("(word)", "(list)", "(other)")


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "(word)"
    return "(list)" if isinstance(value, (list, tuple)) else "(other)"


def _refuse(problem: Callable[[Any], str], value: Any) -> Any:
    """The value, where nothing is wrong with it. problem: a value -> what is wrong, to be read behind it."""
    if text := problem(value):
        raise PydanticCustomError(SAID, "{text}", {"text": text})
    return value


def _text_problem(text: str) -> str:
    return "" if text.isprintable() else "should be printable text on one line"


def _label_problem(text: str) -> str:
    # A figure's legend passes over what begins with an underscore.
    plain = text.strip() == text and not text.startswith("_")
    return _text_problem(text) or ("" if plain else "should begin with neither a blank nor an underscore")


def path_problem(text: str) -> str:
    """What is wrong with a path, to be read behind it; empty when nothing is.

    Braces are wildcards to Snakemake, and paths stand in the report's script, where `<` could end it.
    """
    if problem := _text_problem(text):
        return problem
    if set(text) & set("{}<>"):
        return "should be a path without any of { } < >"
    if max(len(part.encode()) for part in text.split("/")) > MOST_BYTES:
        return f"has a part of more than {MOST_BYTES} bytes, which no file system can hold"
    try:
        local_path(text)
    except UserError as error:
        return str(error)
    return ""


def _number_problem(value: Any) -> str:
    return "should be a number" if isinstance(value, bool) else ""


SAID = "said"  # the type of an error whose message is a part of ours
NAME_LENGTH = 64  # a file's name may hold two of them and more
MOST_BYTES = 255  # of a name of a file
# Keys that hold a word or something else. The tags let an error be about the one that was meant.
KIND = Discriminator(_kind)
# Text that looks like a number is one: YAML reads 1e-3, without a dot, as text.
_NUMBER = BeforeValidator(partial(_refuse, _number_problem))
Real = Annotated[float, Field(strict=False, allow_inf_nan=False), _NUMBER]
Gigabytes = Annotated[float, Field(strict=False, allow_inf_nan=False, gt=0, le=10_000), _NUMBER]
Share = Annotated[float, Field(strict=False, allow_inf_nan=False, ge=0, le=1), _NUMBER]
Text = Annotated[str, Field(max_length=500), AfterValidator(partial(_refuse, _text_problem))]
Label = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(partial(_refuse, _label_problem))]
FilePath = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(partial(_refuse, path_problem))]
Heads = Annotated[int, Field(ge=0, le=100_000)]
Batch = Annotated[int, Field(ge=1, le=100_000)]
Keep = Annotated[Annotated[Literal["knee"], Tag("(word)")] | Annotated[Heads, Tag("(other)")], KIND]
BatchSize = Annotated[Annotated[Literal["auto"], Tag("(word)")] | Annotated[Batch, Tag("(other)")], KIND]
Objects = Annotated[Annotated[FilePath, Tag("(word)")] | Annotated[list[str], Tag("(list)")], KIND]
