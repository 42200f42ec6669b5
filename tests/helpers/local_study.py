"""The small study run by Snakemake on this machine, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tests.helpers.small_study import MODEL, RESULTS, SNAKEFILE, config_text

PATIENCE = 600.0
# From words to a circuit, what it was found from, and a figure.
TARGETS = ("behaviour", "prune_circuits", f"{RESULTS}/figures/circuits/base.png")


@dataclass
class LocalStudy:
    """A folder with a config and the model, which tests may damage."""

    folder: Path

    def __post_init__(self) -> None:
        if not (self.folder / "config.yaml").exists():
            (self.folder / "config.yaml").write_text(config_text("model"))
            shutil.copytree(MODEL, self.folder / "model")

    def start(self, *options: str, log: str = "run.log") -> subprocess.Popen[bytes]:
        """Start Snakemake in a process group of its own; what it says goes to a file of the folder."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--nocolor"]
        with (self.folder / log).open("wb") as file:
            return subprocess.Popen(
                [*command, "--configfile", "config.yaml", "--cores", "2", *(options or TARGETS)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"},
            )

    def said(self, log: str = "run.log") -> str:
        """What Snakemake has said since its last start."""
        return (self.folder / log).read_text(errors="replace")

    def run(self, *options: str, code: int = 0) -> str:
        """Run Snakemake and return what it said; AssertionError when it ends otherwise than with the code."""
        process = self.start(*options)
        try:
            process.wait(PATIENCE)
        finally:
            kill(process)
        assert process.returncode == code, self.said()
        return self.said()

    def path(self, name: str) -> Path:
        """A file of the run's results."""
        return self.folder / RESULTS / name

    def forget(self, name: str) -> str:
        """Delete a result; returns Snakemake's name for it."""
        self.path(name).unlink()
        return str(RESULTS / name)

    def results(self) -> dict[str, object]:
        """Contents of all results by name: bytes, and of HDF5 files their arrays. Logs and times are not results."""
        found: dict[str, object] = {}
        for path in sorted((self.folder / RESULTS).rglob("*")):
            name = str(path.relative_to(self.folder / RESULTS))
            if path.is_file() and not name.startswith(("logs/", "benchmarks/")):
                found[name] = hdf5_content(path) if path.suffix == ".h5" else path.read_bytes()
        return found


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill Snakemake and its jobs, as a machine that goes down would."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def wait_until(true: Callable[[], object], what: str) -> None:
    """Return when the condition holds; AssertionError when it does not in time."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.05)


def hdf5_content(path: Path) -> dict[str, object]:
    """Attributes and arrays of a file, as bytes that can be compared."""
    found: dict[str, object] = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        found[name] = {key: str(value) for key, value in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            found[f"{name} values"] = np.asarray(item[()]).tobytes()

    with h5py.File(path, "r") as file:
        found["/"] = {key: str(value) for key, value in file.attrs.items()}
        file.visititems(visit)
    return found


def flip(path: Path, place: int) -> None:
    """Flip the lowest bit of a byte; the file keeps its date, as with a fault of the disk."""
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def cut(path: Path) -> None:
    """Cut a file in half; it keeps its date."""
    stat = path.stat()
    os.truncate(path, stat.st_size // 2)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
