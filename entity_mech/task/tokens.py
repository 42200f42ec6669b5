"""Prompts as token ids with the positions of their roles, in memory and in HDF5."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Bool, Int64

from entity_mech.errors import UserError
from entity_mech.hdf5 import read_hdf5, write_hdf5
from entity_mech.task.roles import ALIASES

Index = slice | np.ndarray | list[int]
_PER_PROMPT = ("length", "answer", "query_index", "scene")


@dataclass(frozen=True)
class TokenizedPrompts:
    """Prompts as one tokenizer reads them (method, section 1). All integers are int64.

    ids: token ids, padded with 0 on the right. length: tokens of a prompt; its last token is at length - 1.
    roles: position of each role's token (the last one of its word); -1 where a prompt has no such role. The
    roles of the context are those of the queried segment; in a corrupted prompt, of the segment that was drawn
    for it. sets: tokens of the other segments, by role. segment: which segment a token belongs to, -1 for none.
    answer: id of the correct object, -1 where no named object is correct. choices: ids of the objects in the
    order of the segments. query_index: the segment that is asked for, in the order of the text, -1 for none.
    scene: id of the prompt's scene within its file; the unit of resampling.
    """

    ids: Int64[np.ndarray, "prompt pos"]
    length: Int64[np.ndarray, " prompt"]
    roles: dict[str, Int64[np.ndarray, " prompt"]]
    sets: dict[str, Bool[np.ndarray, "prompt pos"]]
    segment: Int64[np.ndarray, "prompt pos"]
    answer: Int64[np.ndarray, " prompt"]
    choices: Int64[np.ndarray, "prompt box"]
    query_index: Int64[np.ndarray, " prompt"]
    scene: Int64[np.ndarray, " prompt"]

    def __len__(self) -> int:
        return len(self.length)

    def rows(self, index: Index) -> "TokenizedPrompts":
        """Some prompts (a slice, positions or a mask), padded no further than the longest of them needs."""
        width = int(self.length[index].max(initial=0))
        return replace(
            self,
            ids=self.ids[index, :width],
            segment=self.segment[index, :width],
            choices=self.choices[index],
            roles={name: pos[index] for name, pos in self.roles.items()},
            sets={name: where[index, :width] for name, where in self.sets.items()},
            **{name: getattr(self, name)[index] for name in _PER_PROMPT},
        )


@dataclass(frozen=True)
class TokenizedPairs:
    """Base and source prompts, row by row, and the token id that patching source into base should give."""

    base: TokenizedPrompts
    source: TokenizedPrompts
    target: Int64[np.ndarray, " pair"]

    def __len__(self) -> int:
        return len(self.target)

    def rows(self, index: Index) -> "TokenizedPairs":
        """Some pairs; see TokenizedPrompts.rows."""
        return TokenizedPairs(self.base.rows(index), self.source.rows(index), self.target[index])


def check_same_layout(a: TokenizedPrompts, b: TokenizedPrompts, what: str) -> None:
    """Raise UserError unless all prompts of both have the same length and the same segments in the same places.

    Means over prompts, position by position, only say something then (method, section 1). what: names both,
    for the message.
    """
    layouts = set()
    for prompts in (a, b):
        layouts |= {row.tobytes() for row in np.column_stack([prompts.length, prompts.segment])}
    if len(layouts) > 1:
        lengths = sorted({int(n) for prompts in (a, b) for n in prompts.length})
        raise UserError(
            f"{what}: prompts are not laid out alike ({len(layouts)} layouts, lengths {lengths} tokens), so "
            "mean outputs by position make no sense; use words that are one token each"
        )


def write_prompts(group: h5py.Group, prompts: TokenizedPrompts) -> None:
    """Write prompts into an HDF5 group: a dataset per field, and groups `roles` and `sets`."""
    for field in fields(prompts):
        value = getattr(prompts, field.name)
        if isinstance(value, dict):
            inside = group.create_group(field.name)
            for name, array in value.items():
                if name not in ALIASES:
                    _write_array(inside, name, array)
        else:
            _write_array(group, field.name, value)


def _write_array(group: h5py.Group, name: str, array: np.ndarray) -> None:
    """int64 goes to disk as int32: no vocabulary or prompt is that large."""
    if array.dtype == np.int64:
        array = array.astype(np.int32)
    small = array.size < 1024
    packing: dict[str, Any] = {} if small else {"compression": "gzip", "compression_opts": 4, "shuffle": True}
    group.create_dataset(name, data=array, track_times=False, **packing)


def write_tokens(
    path: str | Path,
    groups: Mapping[str, Mapping[str, TokenizedPrompts]],
    targets: Mapping[str, np.ndarray],
    pieces: Mapping[int, str],
    attributes: Mapping[str, str | int],
) -> None:
    """Write a split's token file.

    groups: part -> name of a prompt in a record -> prompts; a part "" stands at the root. targets: part ->
    target ids of pairs. pieces: the text of every token id that occurs. Equal content gives equal bytes.
    """
    with write_hdf5(path) as file:
        file.attrs.update(attributes)
        for part, prompts in groups.items():
            where = file.require_group(part or "/")
            for name, rows in prompts.items():
                write_prompts(where.create_group(name), rows)
            if part in targets:
                _write_array(where, "target", targets[part])
        named = file.create_group("pieces")
        ids = sorted(pieces)
        _write_array(named, "id", np.array(ids, np.int64))
        text = "\0".join(pieces[i] for i in ids).encode()
        _write_array(named, "text", np.frombuffer(text, np.uint8))


def read_prompts(path: str | Path, group: str) -> TokenizedPrompts:
    """Read the prompts of a group of a token file. Raises UserError when it has no such group."""
    with read_hdf5(path) as file:
        return _prompts(_group(file, path, group))


def read_pairs(path: str | Path, group: str) -> TokenizedPairs:
    """Read the pairs of a group: `base`, `source` and `target`. Raises UserError when there is no such group."""
    with read_hdf5(path) as file:
        where = _group(file, path, group)
        if "target" not in where:
            raise UserError(f"{path}: group {group!r} holds no pairs")
        return TokenizedPairs(_prompts(where["base"]), _prompts(where["source"]), _int64(where["target"]))


def read_pieces(path: str | Path) -> dict[int, str]:
    """The text of every token id in a token file, for drawing prompts without a tokenizer."""
    with read_hdf5(path) as file:
        texts = file["pieces/text"][()].tobytes().decode().split("\0")
        return dict(zip(file["pieces/id"][()].tolist(), texts, strict=True))


def read_attributes(path: str | Path) -> dict[str, str | int]:
    """A token file's attributes: dataset (sha256 of the split's text file), tokenizer, split, seed."""
    with read_hdf5(path) as file:
        return {name: value if isinstance(value, str) else int(value) for name, value in file.attrs.items()}


def groups_of(path: str | Path) -> list[str]:
    """Names of the groups that hold prompts or pairs, for `read_prompts` and `read_pairs`."""
    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and ("ids" in item or "target" in item):
            found.append(name)

    with read_hdf5(path) as file:
        file.visititems(visit)
    return found


def digest_of(path: str | Path) -> str:
    """Sha256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _group(file: h5py.File, path: str | Path, group: str) -> h5py.Group:
    if group not in file:
        raise UserError(f"{path} has no group {group!r}; it has {', '.join(file)}")
    return file[group]


def _int64(dataset: Any) -> np.ndarray:
    found: np.ndarray = dataset[()].astype(np.int64)
    return found


def _prompts(group: h5py.Group) -> TokenizedPrompts:
    roles = {name: _int64(pos) for name, pos in group["roles"].items()}
    roles |= {alias: roles[name] for alias, name in ALIASES.items()}
    sets = {name: where[()] for name, where in group["sets"].items()}
    names = [field.name for field in fields(TokenizedPrompts) if field.name not in ("roles", "sets")]
    return TokenizedPrompts(roles=roles, sets=sets, **{name: _int64(group[name]) for name in names})
