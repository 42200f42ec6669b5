"""The words of the task: which of them every tokenizer of a run has as one token."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from entity_mech.errors import UserError
from entity_mech.files import read_checked_json, write_checked_json

LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
Dropped = dict[str, dict[str, str]]
# What the first column of a CSV file may be called; another word there is taken for one that has no header.
HEADERS = ("object", "objects", "object_name", "word", "words", "name")
MOST_WORDS = 200_000
_MOST_BYTES = 10_000_000
_LONGEST = 100  # characters of a word
_NEVER = frozenset(' "{},;')
_NAMED = 5  # mistakes named in a message


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


def word_problems(words: Iterable[str]) -> Iterator[tuple[int, str]]:
    """(place in the list, what is wrong) for what is not one word, or is there twice."""
    seen: set[str] = set()
    for place, word in enumerate(words):
        if not word.isprintable() or not word or set(word) & _NEVER or len(word) > _LONGEST:
            yield place, f"{word[:40]!r} is not one word (without blanks, quotes, commas, semicolons or braces)"
        elif word in seen:
            yield place, f"{word!r} is there twice"
        seen.add(word)


def read_word_list(path: str | Path) -> tuple[str, ...]:
    """Words from a text file (a word a line) or a CSV file (its first column, below a header).

    Raises UserError when the file cannot be read or is empty, when a CSV file has no header, and for what is not one
    word or is there twice.
    """
    path = Path(path)
    text = _text_of(path)
    rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _lines(text)
    if not rows:
        raise UserError(f"the list of words {path} is empty")
    if len(rows) > MOST_WORDS:
        raise UserError(f"the list of words {path} has {len(rows):,} words; at most {MOST_WORDS:,} are allowed")
    found = [f"line {rows[place][0]}: {problem}" for place, problem in word_problems(word for _, word in rows)]
    if found:
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise UserError(f"the list of words {path}, {'; '.join(found[:_NAMED])}{more}")
    return tuple(word for _, word in rows)


def _text_of(path: Path) -> str:
    why = "there is no such file" if not path.exists() else "it is no file"
    if path.is_file():
        try:
            if (size := path.stat().st_size) <= _MOST_BYTES:
                return path.read_bytes().decode("utf-8-sig")
            why = f"it has {size:,} bytes, more than {_MOST_BYTES:,}"
        except UnicodeDecodeError as error:
            why = f"it is not UTF-8 text (byte {error.start + 1})"
        except OSError as error:
            why = str(error.strerror)
    raise UserError(f"the list of words {path} cannot be read: {why}")


def _lines(text: str) -> list[tuple[int, str]]:
    """(number, what stands there) of the lines that are not blank."""
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _csv_rows(path: Path, text: str) -> list[tuple[int, str]]:
    """(line, first cell) of the rows below the header."""
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        rows = [(reader.line_num, row[0].strip()) for row in reader if row and row[0].strip()]
    except csv.Error as error:
        raise UserError(f"the list of words {path}, line {reader.line_num}: this is not CSV: {error}") from None
    if rows and rows[0][1].lower() not in HEADERS:
        raise UserError(
            f"the list of words {path}, line {rows[0][0]}: {rows[0][1][:40]!r} is no header. The first column of a "
            f"CSV file needs one, which is no word of the list: {', '.join(HEADERS)}"
        )
    return rows[1:]


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
