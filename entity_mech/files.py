"""Files that appear whole or not at all: written beside their final name, then renamed onto it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entity_mech.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

DIGEST = "digest"
AGAIN = "Delete it and run again: it is made anew."


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same ending, that becomes `path` when the block ends well.

    Folders are made as needed. After an error the temporary file is gone and `path` is as it was; one
    that a kill left goes with the next call.
    Raises FileNotFoundError when the block wrote nothing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | Path) -> None:
    """Remove temporary files of `path` that killed processes left. No two processes write one file at a time."""
    path = Path(path)
    name = re.compile(re.escape(f".{path.stem}.") + r"\d+" + re.escape(f".part{path.suffix}"))
    for file in path.parent.glob(".*.part*"):
        if name.fullmatch(file.name):
            file.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Text as UTF-8 with LF line ends."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(path: str | Path, obj: Any) -> None:
    """JSON with sorted keys, so that equal content gives equal bytes. numpy scalars and arrays are welcome.

    Raises ValueError for a NaN or an infinity, for which JSON has no word: write None for an undefined number.
    """
    write_text(path, _dump(obj) + "\n")


def write_checked_json(path: str | Path, obj: Mapping[str, Any]) -> None:
    """As `write_json`, with a key `digest` by which `read_json` notices that the file was changed or damaged."""
    write_json(path, {**obj, DIGEST: _digest(json.loads(_dump(obj)))})


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object from a file, without its digest where it has one.

    Raises UserError when it is missing, is no JSON object, or is not what `write_checked_json` wrote.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} should hold a JSON object")
    digest = value.pop(DIGEST, None)
    if digest is not None and digest != _digest(value):
        raise UserError(f"{path} was changed or damaged after it was written. {AGAIN}")
    return value


def _dump(obj: Any) -> str:
    return json.dumps(obj, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False, default=_plain)


def _digest(value: Any) -> str:
    return hashlib.sha256(_dump(value).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a JSON file: {value!r}")


def write_table(path: str | Path, table: DataFrame) -> None:
    """A tidy CSV: eight significant digits, LF line ends, no index column; NaN and None are empty fields."""
    write_text(path, table.to_csv(None, index=False, float_format="%.8g", lineterminator="\n"))


def read_table(path: str | Path) -> DataFrame:
    """A CSV of `write_table`. Only an empty field is NaN: words like null, None and NA stay words."""
    import pandas as pd

    return pd.read_csv(path, keep_default_na=False, na_values=[""])
