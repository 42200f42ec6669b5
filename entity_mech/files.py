"""Files that appear whole or not at all: written beside their final name, then renamed onto it."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same ending, that becomes `path` when the block ends well.

    Folders are made as needed. After an error the temporary file is gone and `path` is as it was.
    Raises FileNotFoundError when the block wrote nothing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | Path) -> None:
    """Remove temporary files of `path` that a killed process left. Call it where no other process writes `path`."""
    path = Path(path)
    for file in path.parent.glob(f".{glob.escape(path.stem)}.*.part{path.suffix}"):
        file.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Text as UTF-8 with LF line ends."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(path: str | Path, obj: Any) -> None:
    """JSON with sorted keys, so that equal content gives equal bytes. numpy scalars and arrays are welcome.

    Raises ValueError for a NaN or an infinity, for which JSON has no word: write None for an undefined number.
    """
    text = json.dumps(obj, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False, default=_plain)
    write_text(path, text + "\n")


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
