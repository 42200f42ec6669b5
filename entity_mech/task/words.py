"""The words of the task: which of them every tokenizer of a run has as one token."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from entity_mech.errors import UserError
from entity_mech.files import read_checked_json, write_checked_json

LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
Dropped = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Words:
    """Objects and labels that a run uses, in the order given, and why others were dropped.

    dropped: tokenizer -> word -> reason.
    """

    objects: tuple[str, ...]
    labels: tuple[str, ...]
    dropped: Dropped = field(default_factory=dict)

    def narrowed(self, left: Words) -> Words:
        """What is left of these words, with the reasons of both why others were dropped."""
        reasons = {name: {**dropped, **left.dropped.get(name, {})} for name, dropped in self.dropped.items()}
        return Words(left.objects, left.labels, reasons)

    def check(self, boxes: int) -> None:
        """Raise UserError unless `boxes` boxes can be filled from different words."""
        for kind, words in (("objects", self.objects), ("labels", self.labels)):
            if len(words) < boxes:
                raise UserError(f"{boxes} boxes need {boxes} {kind}, and there are {len(words)}")


def builtin_objects() -> tuple[str, ...]:
    """The paper's 85 objects."""
    return read_word_list(Path(__file__).with_name("data") / "objects.csv")


def read_word_list(path: str | Path) -> tuple[str, ...]:
    """Words from a text file (a word a line) or a CSV file (its first column, below a header).

    Raises UserError when the file cannot be read or is empty.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row[0].strip() for row in csv.reader(file) if row and row[0].strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the list of words {path} cannot be read: {error}") from error
    words = tuple(rows[1:] if path.suffix.lower() == ".csv" else rows)
    if not words:
        raise UserError(f"the list of words {path} is empty")
    return words


def objects_of(given: str | Sequence[str]) -> tuple[str, ...]:
    """The config's `objects`: "builtin", a list of words, or the path of a list."""
    if isinstance(given, str):
        return builtin_objects() if given == "builtin" else read_word_list(given)
    return tuple(given)


def write_words(path: str | Path, words: Words) -> None:
    """Write words.json."""
    write_checked_json(path, asdict(words))


def read_words(path: str | Path) -> Words:
    """Read words.json."""
    found = read_checked_json(path)
    return Words(tuple(found["objects"]), tuple(found["labels"]), found["dropped"])
