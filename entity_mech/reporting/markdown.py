"""Text in a Markdown page: labels and words stand there as they are, whatever characters they have."""

from __future__ import annotations

import html
import re

# A token role between backticks, as sentences name it; nothing in it can mean anything else.
_ROLE = re.compile(r"(?<![`\\])(`[\w ,]+`)(?!`)")
# What begins emphasis, code, a table's cell, a formula or strikes through; and a bracket that would begin a link.
_MARKS = re.compile(r"([\\`*|~$]|(?<!\w)_|_(?!\w)|\](?=[\[(:]))")


def by_role(text: str) -> list[tuple[str, bool]]:
    """A sentence in pieces, each with whether it is a token role (then with its backticks)."""
    return [(part, number % 2 == 1) for number, part in enumerate(_ROLE.split(text))]


def escaped(text: object) -> str:
    """Text inside a line: HTML and Markdown in it are shown, not followed. Line ends become blanks."""
    return "".join(part if role else _plain(part) for part, role in by_role(" ".join(str(text).split())))


def bullet(text: object) -> str:
    """A line of a list, whose text may begin with what would make it a heading or another list."""
    shown = escaped(text)
    return f"- \\{shown}" if shown.startswith(("#", "+", "-", "=")) else f"- {shown}"


def _plain(text: str) -> str:
    return html.escape(_MARKS.sub(r"\\\1", text), quote=False)
