"""Seals: how a reader knows that a file is what this package wrote, under the name under which it lies.

A seal is a line of text: a digest of the file's content, a stamp of the options that it was made with, and its place
below `results/`. A JSON file carries it under the key `digest`, an HDF5 file in front of its data, a table in a
hidden file beside it (a CSV has no room for it that spreadsheets leave alone). Standard library only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from entity_mech.errors import UserError

AGAIN = "Delete it and run again: it is made anew."
RESULTS = "results"
_CHUNK = 1 << 22
# What this process's files were made with: one word, set once by each job.
STAMP = ContextVar("stamp", default="-")


@dataclass(frozen=True)
class Seal:
    """What a file says of itself. digest: of stamp, place and content. place: its path below `results/`."""

    digest: str
    stamp: str
    place: str

    @classmethod
    def of(cls, path: str | Path, content: Iterable[bytes]) -> Seal:
        """The seal of a file with this content that is written to `path`."""
        return cls._made(STAMP.get(), place_of(path), content)

    @classmethod
    def _made(cls, stamp: str, place: str, content: Iterable[bytes]) -> Seal:
        digest = hashlib.sha256(f"{stamp} {place}\n".encode())
        for part in content:
            digest.update(part)
        return cls(digest.hexdigest()[:32], stamp, place)

    @classmethod
    def read(cls, text: object) -> Seal | None:
        """A seal from its line of text; None where it is none."""
        parts = text.split(" ", 2) if isinstance(text, str) else []
        return cls(*parts) if len(parts) == 3 and len(parts[0]) == 32 else None

    def __str__(self) -> str:
        return f"{self.digest} {self.stamp} {self.place}"

    def is_of(self, path: str | Path, renamed: bool = False) -> bool:
        """Whether a file that lies there is the one that was sealed, by its name."""
        place = (self.place.partition("/")[2] or self.place) if renamed else self.place
        return Path(path).absolute().as_posix().endswith(f"/{place}")

    def check(self, path: str | Path, content: Iterable[bytes], renamed: bool = False) -> None:
        """Raise UserError, naming the file, unless it has this content and lies where it was written.

        renamed: the folder of the run may have another name than when the file was written.
        """
        if self != self._made(self.stamp, self.place, content):
            changed(path)
        if not self.is_of(path, renamed):
            raise UserError(f"{path} is another file's copy: it was written as {RESULTS}/{self.place}. {AGAIN}")


def place_of(path: str | Path) -> str:
    """A file's path below `results/`, however it is reached; its name alone where it lies elsewhere."""
    path = Path(path)
    parts = path.parts if not path.is_absolute() else path.parts[::-1]
    if RESULTS not in parts:
        return path.name
    at = parts.index(RESULTS)
    return "/".join(parts[at + 1 :] if not path.is_absolute() else parts[:at][::-1])


def changed(path: str | Path) -> NoReturn:
    """Raise the UserError of a file that is not what was written."""
    raise UserError(f"{path} was changed or damaged after it was written. {AGAIN}")


def no_seal(path: str | Path) -> NoReturn:
    """Raise the UserError of a file that does not say what it should be: empty, cut short, or not ours."""
    size = Path(path).stat().st_size
    what = "carries no seal: it was changed or damaged, or something else wrote it" if size else "is empty"
    raise UserError(f"{path} {what}. {AGAIN}")


def read_bytes(path: str | Path) -> bytes:
    """A file's bytes. Raises UserError when it is missing, a folder, or may not be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        cannot_read(path, error)


def cannot_read(path: str | Path, error: OSError) -> NoReturn:
    """Raise the UserError of a file that the system does not give."""
    if isinstance(error, FileNotFoundError):
        raise UserError(f"{path} is missing") from None
    raise UserError(f"{path} cannot be read: {error.strerror or error}. {AGAIN}") from None


def blocks(path: str | Path, start: int) -> Iterable[bytes]:
    """A file's bytes from a place on, a few MiB at a time."""
    with Path(path).open("rb") as file:
        file.seek(start)
        while block := file.read(_CHUNK):
            yield block
