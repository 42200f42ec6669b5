"""Files that appear whole or not at all: written beside their final name, then renamed onto it.

What one stage writes and another reads, JSON and tables, carries a seal that the reader checks (`seals.py`). HDF5
files have theirs in `hdf5.py`. Files of others, models' and users', are read by `read_json` and `read_plain_table`.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entity_mech.errors import UserError
from entity_mech.seals import AGAIN, Seal, changed, no_seal, read_bytes
from entity_mech.table_schemas import check_table, schema_of

if TYPE_CHECKING:
    from pandas import DataFrame

DIGEST = "digest"


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
    """As `write_json`, with a key `digest` by which `read_checked_json` knows that it is what was written here."""
    write_json(path, {**obj, DIGEST: str(Seal.of(path, _content(json.loads(_dump(obj)))))})


def read_checked_json(path: str | Path, renamed: bool = False) -> dict[str, Any]:
    """What `write_checked_json` wrote, without its digest. renamed: the run's folder may have another name.

    Raises UserError when the file is missing, damaged, changed, another file's copy, or has no digest.
    """
    try:
        value = json.loads(read_bytes(path))
    except ValueError:
        changed(path)
    seal = Seal.read(value.pop(DIGEST, None)) if isinstance(value, dict) else None
    if seal is None:
        no_seal(path)
    seal.check(path, _content(value), renamed)
    return dict(value)


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object that another program or a person wrote. Raises UserError when it is missing or is none."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} should hold a JSON object")
    return value


def _dump(obj: Any) -> str:
    return json.dumps(obj, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False, default=_plain)


def _content(value: Any) -> list[bytes]:
    return [_dump(value).encode()]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a JSON file: {value!r}")


def write_table(path: str | Path, table: DataFrame) -> None:
    """A tidy CSV: eight significant digits, LF line ends, no index column; NaN and None are empty fields.

    Its seal stands in a hidden file beside it. Raises ValueError when the table is not what its schema says.
    """
    content = table.to_csv(None, index=False, float_format="%.8g", lineterminator="\n").encode()
    if problem := check_table(schema_of(path), _parsed(content)):
        raise ValueError(f"{path}: {problem}")
    write_text(seal_file(path), f"{Seal.of(path, [content])}\n")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_table(path: str | Path, renamed: bool = False) -> DataFrame:
    """What `write_table` wrote. Only an empty field is NaN: words like null, None and NA stay words.

    renamed: the run's folder may have another name. Raises UserError when the file is missing, damaged, changed,
    another file's copy, has no seal, or is not what its schema says.
    """
    content = read_bytes(path)
    seal = seal_of_table(path)
    if seal is None:
        no_seal(path)
    seal.check(path, [content], renamed)
    table = _parsed(content)
    if problem := check_table(schema_of(path), table):
        raise UserError(f"{path}: {problem}. {AGAIN}")
    return table


def seal_file(path: str | Path) -> Path:
    """The hidden file with a table's seal."""
    return Path(path).with_name(f".{Path(path).name}.seal")


def seal_of_table(path: str | Path) -> Seal | None:
    """The seal of a table, unchecked; None where it has none."""
    beside = seal_file(path)
    return Seal.read(beside.read_text(encoding="utf-8", errors="replace").rstrip("\n")) if beside.is_file() else None


def seal_of_json(path: str | Path) -> Seal | None:
    """The seal that a JSON file carries, unchecked; None where it carries none."""
    try:
        value = json.loads(read_bytes(path))
    except ValueError:
        return None
    return Seal.read(value.get(DIGEST)) if isinstance(value, dict) else None


def read_plain_table(path: str | Path) -> DataFrame:
    """A CSV that a person or another program wrote. Raises UserError when it is missing or is no table."""
    try:
        return _parsed(read_bytes(path))
    except ValueError as error:
        raise UserError(f"{path} is not a table: {error}") from None


def _parsed(content: bytes) -> DataFrame:
    import pandas as pd

    return pd.read_csv(io.BytesIO(content), keep_default_na=False, na_values=[""])
