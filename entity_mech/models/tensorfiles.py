"""Safetensors files read with the standard library alone: headers, and a fingerprint of the contents.

A safetensors file is eight bytes (the header's length, little-endian), a JSON header, then the tensors'
bytes. Reading the header costs milliseconds whatever the size of the file, so checks can be made before any
job runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from entity_mech.errors import UserError

DTYPE_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
DTYPE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
CHUNK = 1 << 22


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies: its file, dtype (safetensors' name, e.g. BF16), shape, and range of bytes."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of one safetensors file, by name.

    Raises UserError when the file is no safetensors file, is a git-lfs pointer, or is cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as f:
        first = f.read(8)
        if first == b"version ":
            raise UserError(f"{path} is a git-lfs pointer, not the weights: fetch them with `git lfs pull`")
        length = int.from_bytes(first, "little")
        if len(first) < 8 or length > size - 8:
            raise UserError(f"{path} is not a safetensors file, or is cut short ({size} bytes)")
        try:
            header = json.loads(f.read(length))
            header.pop("__metadata__", None)
            start = 8 + length
            tensors = {
                name: StoredTensor(
                    path,
                    entry["dtype"],
                    tuple(entry["shape"]),
                    start + entry["data_offsets"][0],
                    start + entry["data_offsets"][1],
                )
                for name, entry in header.items()
            }
            if not all(start <= one.begin <= one.end for one in tensors.values()):
                raise ValueError("a tensor ends before it begins")
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise UserError(f"{path} is not a safetensors file: its header cannot be read ({error})") from None
    end = max((t.end for t in tensors.values()), default=8 + length)
    if end != size:
        raise UserError(f"{path} should be {end} bytes long and has {size}: copy or download it again")
    return tensors


def read_headers(paths: Sequence[Path]) -> dict[str, StoredTensor]:
    """Tensors of several files by name; a later file's tensor replaces an earlier one's of the same name."""
    found: dict[str, StoredTensor] = {}
    for path in paths:
        found.update(read_header(path))
    return found


def fingerprint(tensors: Mapping[str, StoredTensor]) -> str:
    """Sha256 over names, dtypes, shapes and bytes of tensors in the order of their names.

    It says nothing of file names, folders or how tensors are spread over files, so a sharded copy of a model
    has the same fingerprint. Read in chunks of 4 MB.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        t = tensors[name]
        digest.update(json.dumps([name, t.dtype, list(t.shape)]).encode())
        with t.file.open("rb") as f:
            f.seek(t.begin)
            left = t.end - t.begin
            while left:
                chunk = f.read(min(CHUNK, left))
                if not chunk:
                    raise UserError(f"{t.file} ended while tensor {name} was read")
                digest.update(chunk)
                left -= len(chunk)
    return digest.hexdigest()


def stored_dtype(tensors: Mapping[str, StoredTensor]) -> str:
    """The dtype that holds most numbers, as torch names it (bfloat16, ...)."""
    held: dict[str, int] = {}
    for t in tensors.values():
        held[t.dtype] = held.get(t.dtype, 0) + (t.end - t.begin) // DTYPE_BYTES.get(t.dtype, 1)
    most = max(sorted(held), key=lambda dtype: held[dtype])
    return DTYPE_NAMES.get(most, most)
