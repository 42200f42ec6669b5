"""What a user can be told."""

from __future__ import annotations

from reprlib import Repr
from typing import Any

# What a value of any size is cut to before it is written.
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 120


class UserError(Exception):
    """A mistake in the input: the message says what was wrong, where, and what is allowed."""


def shown(value: Any) -> str:
    """A value as it is written in a message, at most 80 characters."""
    try:
        text = _SHORT.repr(value)
    except ValueError:  # Python writes no number of so many digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
