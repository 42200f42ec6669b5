"""A file that its own writer might have written otherwise: changed, and sealed again."""

from collections.abc import Callable
from pathlib import Path

import h5py

from entity_mech.hdf5 import read_hdf5, write_hdf5


def edit_hdf5(path: Path, change: Callable[[h5py.File], None]) -> None:
    """Change an HDF5 file of the package as if it had been written like that."""
    with read_hdf5(path) as old, write_hdf5(path) as new:
        new.attrs.update(old.attrs)
        for name in old:
            old.copy(name, new)
        change(new)
