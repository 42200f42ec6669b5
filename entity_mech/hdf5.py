"""HDF5 files of the package: written whole or not at all, sealed, and checked byte by byte when they are opened.

The seal stands in the user block, bytes in front of the data that HDF5 leaves to whoever writes the file. It covers
everything behind it: datasets of every kind, attributes, and HDF5's own bookkeeping, which has no checksums and can
turn a block of numbers into zeros when a bit of it flips. Reading a GB once more costs about a second (method,
section 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from entity_mech.files import atomic_path
from entity_mech.seals import Seal, blocks, cannot_read, no_seal

if TYPE_CHECKING:
    import h5py

USER_BLOCK = 4096  # bytes; a path is no longer


@contextmanager
def write_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """A new file to fill; it appears under its name, sealed, only when the block ends well."""
    import h5py

    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", userblock_size=USER_BLOCK) as file:
            yield file
        seal = Seal.of(path, blocks(temporary, USER_BLOCK))
        with temporary.open("r+b") as raw:
            raw.write(str(seal).encode())


@contextmanager
def read_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """A file of `write_hdf5` to read.

    Raises UserError when it is missing, damaged, changed, another file's copy, or not written by `write_hdf5`.
    """
    import h5py

    check_hdf5(path)
    with h5py.File(path, "r") as file:
        yield file


def check_hdf5(path: str | Path) -> None:
    """Raise UserError unless the file is what `write_hdf5` wrote there."""
    try:
        seal = seal_of_hdf5(path)
        if seal is None:
            no_seal(path)
        seal.check(path, blocks(path, USER_BLOCK))
    except OSError as error:
        cannot_read(path, error)


def seal_of_hdf5(path: str | Path) -> Seal | None:
    """The seal that a file carries, unchecked; None where it carries none."""
    with Path(path).open("rb") as file:
        return Seal.read(file.read(USER_BLOCK).rstrip(b"\0").decode(errors="replace"))


@contextmanager
def scratch_hdf5() -> Iterator[h5py.File]:
    """A file that lives in memory and is gone when the block ends."""
    import h5py

    with h5py.File("scratch", "w", driver="core", backing_store=False) as file:
        yield file
