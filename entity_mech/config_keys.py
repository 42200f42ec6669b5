"""What config keys are made of: described, checked strictly, unknown ones refused."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


def key(default: Any, text: str, *, unit: str = "", cost: str = "", **limits: Any) -> Any:
    """A config key. text: what it means. unit, cost: for the documentation. Callable defaults are called."""
    extra: dict[str, Any] = {name: text for name, text in (("x-unit", unit), ("x-cost", cost)) if text}
    given = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**given, description=text, json_schema_extra=extra or None, **limits)


class Section(BaseModel):
    """A part of the config: unknown keys are errors, and integers and strings are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Real = Annotated[float, Field(strict=False, allow_inf_nan=False)]
