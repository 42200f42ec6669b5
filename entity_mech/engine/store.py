"""Activations on disk: HDF5 files, written in a stream, that say what they come from (method, section 3).

A file has attributes (its provenance stamp) and groups. A group of head outputs holds `z`, float32, and its
`roles`: either every head, [prompt, role, layer, head, d_head], or, when it has `heads`
[chosen, (role, layer, head)], chosen heads only, [prompt, chosen, d_head]. Roles stand under their own names
(`label`, not `previous_label`). Equal content gives equal bytes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from jaxtyping import Float

from entity_mech.engine.clean import run_clean, to_ids
from entity_mech.engine.memory import activation_budget
from entity_mech.errors import UserError
from entity_mech.hdf5 import read_hdf5, write_hdf5
from entity_mech.models.decoder import Decoder
from entity_mech.progress import track
from entity_mech.task.roles import own_name
from entity_mech.task.tokens import TokenizedPrompts

CHUNK_BYTES = 1 << 20
Head = tuple[str, int, int]  # role, layer, head
Rows = slice | np.ndarray | list[int]


@contextmanager
def create_store(path: str | Path, provenance: Mapping[str, str]) -> Iterator[h5py.File]:
    """A new activation file with its stamp; it appears under its name only when the block ends well.

    provenance: for example model, fingerprint, dtype, dataset, config, code.
    """
    with write_hdf5(path) as file:
        for name in sorted(provenance):
            file.attrs[name] = str(provenance[name])
        yield file


@contextmanager
def open_store(path: str | Path, expected: Mapping[str, str]) -> Iterator[h5py.File]:
    """Open an activation file that must have been made from what `expected` says.

    Attributes that `expected` does not name may be anything. Raises UserError when the file is
    missing or damaged, or naming every attribute that does not match.
    """
    with read_hdf5(path) as file:
        check_stamp(file.attrs, expected, path)
        yield file


def check_stamp(found: Mapping[str, str], expected: Mapping[str, str], path: str | Path) -> None:
    """Raise UserError naming each attribute of `expected` that `found` lacks or contradicts."""
    wrong = [
        f"{name} is {found.get(name, 'not there')!s}, this stage needs {value}"
        for name, value in sorted(expected.items())
        if str(found.get(name)) != str(value)
    ]
    if wrong:
        raise UserError(f"{path} was made from something else: {'; '.join(wrong)}. Make it again.")


@dataclass(frozen=True)
class StoredHeads:
    """Head outputs of some prompts at their roles, on disk or in memory.

    z: [prompt, role, layer, head, d_head], or [prompt, chosen, d_head] for the chosen (role, layer, head).
    """

    z: h5py.Dataset | np.ndarray
    roles: tuple[str, ...]
    chosen: tuple[Head, ...] | None = None
    where: str = "head outputs"

    def __len__(self) -> int:
        return int(self.z.shape[0])

    def at(
        self, role: str, heads: Sequence[tuple[int, int]], rows: Rows = slice(None)
    ) -> Float[np.ndarray, "prompt n_heads d_head"]:
        """Outputs of (layer, head) pairs at a role. Raises UserError for one that is not stored."""
        role = own_name(role)
        if not heads:
            return np.zeros((len(np.arange(len(self))[rows]), 0, self.z.shape[-1]), np.float32)
        if self.chosen is None:
            return self.every(role, rows)[:, [la for la, _ in heads], [h for _, h in heads]]
        index = {head: i for i, head in enumerate(self.chosen)}
        missing = [head for head in heads if (role, *head) not in index]
        if missing:
            raise UserError(f"{self.where}: no outputs of {_names(missing)} at {role!r}")
        return _read_rows(self.z, rows)[:, [index[(role, *head)] for head in heads]]

    def every(self, role: str, rows: Rows = slice(None)) -> Float[np.ndarray, "prompt layer head d_head"]:
        """Outputs of every head at a role. Raises UserError when the role or some heads are not stored."""
        if self.chosen is not None:
            raise UserError(f"{self.where}: holds chosen heads only, not every head")
        role = own_name(role)
        if role not in self.roles:
            raise UserError(f"{self.where}: no outputs at {role!r}; it has {', '.join(self.roles)}")
        return _read_rows(self.z, rows, self.roles.index(role))


def _names(heads: Iterable[tuple[int, int]]) -> str:
    return ", ".join(f"{layer}.{head}" for layer, head in heads)


def _read_rows(z: Any, rows: Rows, *inside: int) -> np.ndarray:
    """z[rows, *inside]. h5py wants row numbers that rise, so others are read in order and then put back."""
    if isinstance(rows, slice):
        return np.asarray(z[rows, *inside])
    index = np.arange(z.shape[0])[rows]
    unique, back = np.unique(index, return_inverse=True)
    return np.asarray(z[unique, *inside])[back]


def read_head_outputs(group: h5py.Group) -> StoredHeads:
    """The head outputs of a group, read from disk as they are asked for while the file is open."""
    if "z" not in group:
        raise UserError(f"{group.file.filename}: group {group.name!r} holds no head outputs")
    roles = tuple(str(role) for role in group.attrs["roles"])
    where = f"{group.file.filename}:{group.name}"
    if "heads" not in group:
        return StoredHeads(group["z"], roles, None, where)
    chosen = tuple((roles[role], int(layer), int(head)) for role, layer, head in group["heads"][()])
    return StoredHeads(group["z"], roles, chosen, where)


def read_means(group: h5py.Group) -> Float[np.ndarray, "pos layer head d_head"]:
    """Mean head outputs by position, written by `store_means`."""
    if "mean" not in group:
        raise UserError(f"{group.file.filename}: group {group.name!r} holds no mean head outputs")
    return np.asarray(group["mean"][()])


def auto_batch(decoder: Decoder, n_pos: int, budget: int | None = None) -> int:
    """Prompts whose head outputs are held at once: one clean run that keeps z."""
    s = decoder.shape
    values = n_pos * (s.n_layers * s.n_heads * s.d_head + 4 * s.d_model + 3 * s.d_mlp)
    size = values * decoder.embedding.element_size()
    return max(1, min(256, (budget or activation_budget(decoder)) // size))


def batches(decoder: Decoder, prompts: TokenizedPrompts, batch: int | None, label: str) -> Iterator[np.ndarray]:
    """Rows of prompts that run at once, with progress."""
    size = min(batch or auto_batch(decoder, prompts.ids.shape[1]), len(prompts))
    starts = range(0, len(prompts), size)
    for first in track(starts, len(starts), f"{label}: batches of {size} prompts"):
        yield np.arange(first, min(first + size, len(prompts)))


def role_positions(prompts: TokenizedPrompts, role: str) -> np.ndarray:
    """Position of a role in every prompt [prompt]. Raises UserError when a prompt has no such token."""
    if role not in prompts.roles:
        raise UserError(f"no token role {role!r}; there are {', '.join(sorted(prompts.roles))}")
    positions = prompts.roles[role]
    if (positions < 0).any():
        raise UserError(f"{int((positions < 0).sum())} of {len(prompts)} prompts have no token {role!r}")
    return positions


def _empty_dataset(group: h5py.Group, shape: tuple[int, ...]) -> h5py.Dataset:
    """A float32 dataset in chunks of whole prompts, about a MiB each; equal content gives equal bytes."""
    prompt = 4 * int(np.prod(shape[1:]))
    rows = max(1, min(shape[0], CHUNK_BYTES // max(prompt, 1)))
    inside = (1, *shape[2:]) if len(shape) == 5 and prompt > CHUNK_BYTES else shape[1:]
    return group.create_dataset("z", shape, np.float32, chunks=(rows, *inside), track_times=False)


def store_head_outputs(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    roles: Sequence[str],
    group: h5py.Group,
    batch: int | None = None,
    heads: Sequence[Head] | None = None,
) -> None:
    """Write head outputs z (before the output projection) at the prompts' roles into a new group's `z`.

    heads: only these (role, layer, head), whose roles must be among `roles`; None: every head at every role.
    batch: prompts at a time, None chooses from memory. Raises UserError for a role that a prompt lacks, or a
    head that the model has not.
    """
    s = decoder.shape
    roles = list(dict.fromkeys(own_name(role) for role in roles))
    positions = np.stack([role_positions(prompts, role) for role in roles], 1)
    group.attrs["roles"] = roles
    if heads is None:
        data = _empty_dataset(group, (len(prompts), len(roles), s.n_layers, s.n_heads, s.d_head))
    else:
        table = _head_table(decoder, roles, heads)
        group.create_dataset("heads", data=table, track_times=False)
        if not len(table):
            group.create_dataset("z", (len(prompts), 0, s.d_head), np.float32, track_times=False)
            return
        data = _empty_dataset(group, (len(prompts), len(table), s.d_head))
    top = s.n_layers - 1 if heads is None else int(table[:, 1].max())
    for rows in batches(decoder, prompts, batch, f"{decoder.name}: head outputs of {group.name}"):
        ids = to_ids(decoder, prompts.ids[rows])
        with torch.inference_mode():
            z = run_clean(decoder, ids, {"z"}, last_layer=top).z
            if heads is None:
                at = to_ids(decoder, positions[rows])
                found = torch.stack([layer[torch.arange(len(rows))[:, None], at] for layer in z], 2)
            else:
                found = _pick(z, positions[rows], table)
        data[rows[0] : rows[-1] + 1] = found.float().cpu().numpy()


def _head_table(decoder: Decoder, roles: Sequence[str], heads: Sequence[Head]) -> np.ndarray:
    s = decoder.shape
    table = []
    for role, layer, head in dict.fromkeys((own_name(role), la, h) for role, la, h in heads):
        if role not in roles or not (0 <= layer < s.n_layers and 0 <= head < s.n_heads):
            has = f"{s.n_layers} x {s.n_heads} heads, roles {', '.join(roles)}"
            raise UserError(f"{decoder.name}: no head {layer}.{head} at {role!r} ({has})")
        table.append((roles.index(role), layer, head))
    return np.array(table, np.int32).reshape(-1, 3)


def _pick(z: list[torch.Tensor], positions: np.ndarray, table: np.ndarray) -> torch.Tensor:
    """Chosen heads at their tokens, [prompt, chosen, d_head]."""
    found = z[0].new_empty(len(positions), len(table), z[0].shape[-1])
    prompt = torch.arange(len(positions))[:, None]
    for layer in np.unique(table[:, 1]):
        which = np.flatnonzero(table[:, 1] == layer)
        at = torch.as_tensor(positions[:, table[which, 0]])
        found[:, which] = z[layer][prompt, at, torch.as_tensor(table[which, 2])]
    return found


def store_means(decoder: Decoder, prompts: TokenizedPrompts, group: h5py.Group, batch: int | None = None) -> None:
    """Write mean head outputs by position [pos, layer, head, d_head], summed in float64, into a new `mean`.

    A position's mean is over the prompts that reach it; `count` [pos] says how many. Whether all prompts are
    laid out alike, so that a position means the same in each, is for the caller to check.
    """
    s, n_pos = decoder.shape, prompts.ids.shape[1]
    total = np.zeros((n_pos, s.n_layers, s.n_heads, s.d_head))
    real = np.arange(n_pos) < prompts.length[:, None]
    for rows in batches(decoder, prompts, batch, f"{decoder.name}: mean head outputs"):
        with torch.inference_mode():
            z = run_clean(decoder, to_ids(decoder, prompts.ids[rows]), {"z"}, last_layer=s.n_layers - 1).z
            keep = torch.as_tensor(real[rows], device=decoder.device)[..., None, None]
            for layer, outputs in enumerate(z):
                summed = torch.where(keep, outputs, 0).sum(0, dtype=torch.float64)
                total[:, layer] += summed.cpu().numpy()
    count = real.sum(0)
    mean = (total / np.maximum(count, 1)[:, None, None, None]).astype(np.float32)
    group.create_dataset("mean", data=mean, track_times=False)
    group.create_dataset("count", data=count, track_times=False)
