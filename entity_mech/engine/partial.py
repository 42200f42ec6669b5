"""What a long stage has done so far, on disk, so that a job that is killed goes on where it was.

A partial file lies beside the stage's output and is none of the workflow's files: Snakemake deletes outputs of failed
jobs. It is written anew and renamed each time, so a kill leaves the last whole one; it says what it was made from,
and another stamp, or a damaged file, means starting again.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from entity_mech.errors import UserError
from entity_mech.files import remove_leftovers
from entity_mech.hdf5 import read_hdf5, write_hdf5
from entity_mech.progress import log

SHARE = 0.05  # of a stage's time at most goes into writing
Arrays = dict[str, np.ndarray]


class Partial:
    """Named entries, each of some arrays, that outlive the process.

    path: the file, or None to keep nothing. stamp: what the entries are made from: model, options, code.
    """

    def __init__(self, path: str | Path | None, stamp: Mapping[str, str]) -> None:
        self.path = None if path is None else Path(path)
        self.stamp = {name: str(value) for name, value in stamp.items()}
        self._entries: dict[str, Arrays] = {}
        self._next = 0.0
        if self.path is not None:
            remove_leftovers(self.path)
            self._read(self.path)

    def _read(self, path: Path) -> None:
        if not path.is_file():
            return
        try:
            with read_hdf5(path) as file:
                found = {name: str(value) for name, value in file.attrs.items()}
                entries = {name: {key: data[()] for key, data in group.items()} for name, group in file.items()}
        except UserError as error:
            log(f"{error} Starting again without it.")
            return
        different = sorted(name for name in {*found, *self.stamp} if found.get(name) != self.stamp.get(name))
        if different:
            log(f"{path} was made from something else ({', '.join(different)}): starting again")
            return
        self._entries = entries
        log(f"going on from {path}: {len(entries)} parts are done")

    def get(self, name: str) -> Arrays | None:
        """The arrays of an entry, or None when it was not done."""
        return self._entries.get(name)

    def put(self, name: str, arrays: Arrays) -> None:
        """Keep an entry; on disk now, or with a later one when writing takes long and was done just now."""
        if self.path is None:
            return
        self._entries[name] = arrays
        if time.monotonic() >= self._next:
            self.write()

    def write(self) -> None:
        """Write all entries."""
        if self.path is None:
            return
        start = time.monotonic()
        with write_hdf5(self.path) as file:
            file.attrs.update(self.stamp)
            for name, arrays in self._entries.items():
                group = file.create_group(name)
                for key, array in arrays.items():
                    group.create_dataset(key, data=array, track_times=False)
        end = time.monotonic()
        self._next = end + (end - start) / SHARE

    def remove(self) -> None:
        """Forget everything: the stage's outputs are written."""
        self._entries = {}
        if self.path is not None:
            self.path.unlink(missing_ok=True)


NOTHING = Partial(None, {})
