"""What surrounds the work of every script: its log, threads, peak memory, and a mistake told in one line.

Snakemake puts this folder on a script's path, and this file puts the package there, installed or not. It is no part
of a rule's code digest, because nothing here decides a result.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
# Before torch is loaded: threads that wait for one another sleep. Where other work holds a core, threads that spin
# made two of them 2.4 times slower than one.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from entity_mech.errors import UserError
from entity_mech.kept import options_stamp
from entity_mech.progress import log
from entity_mech.provenance import peak_memory_mb, versions
from entity_mech.seals import STAMP


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Send what the block prints to the rule's log, and end the script where the block raises UserError.

    The message of a UserError, or of a disk that is full, stands in the log and on the terminal, without a traceback;
    another error leaves its traceback in the log.
    """
    terminal = os.dup(2)
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    what = " ".join([snakemake.rule, *(f"{name}={value}" for name, value in snakemake.wildcards.items())])
    log(f"{what}, {snakemake.threads} threads; " + ", ".join(f"{n} {v}" for n, v in versions().items()))
    STAMP.set(options_stamp(dict(snakemake.params.items())))
    start = time.monotonic()
    failed = False
    try:
        set_up_torch(snakemake)
        yield
    except Exception as error:
        message = told(error)
        if message is None:
            raise
        failed = True
        os.write(terminal, f"{what}: {message}\n".encode())
        log(f"error: {message}")
    finally:
        with suppress(OSError):  # the disk may be full
            memory = ", ".join(f"{amount:.0f} MB on {place}" for place, amount in peak_memory_mb().items())
            log(f"{time.monotonic() - start:.1f} s, at most {memory}")
            sys.stdout.flush()
            sys.stderr.flush()
    if failed:
        # Not sys.exit: HDF5 would try again to write what a full disk did not take, and crash.
        os._exit(1)


def told(error: Exception) -> str | None:
    """What to tell a user: a UserError's message, or that the disk is full or read-only; None for other errors.

    h5py and safetensors put the system's words into errors of their own.
    """
    if isinstance(error, UserError):
        return str(error)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
            return f"results cannot be written: {os.strerror(number)} ({error})"
    return None


def set_up_torch(snakemake: Any) -> None:
    """Threads and precision of matrix products, where the script has imported torch."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(snakemake.threads)
        tf32 = getattr(snakemake.params, "options", {}).get("tf32", False)
        torch.set_float32_matmul_precision("high" if tf32 else "highest")


def warn(*texts: str) -> None:
    """Lines of the log about what a number that was just measured cannot carry; an empty text says nothing.

    The limits of these come from `snakemake.config`, not from the rule's params: they change no result.
    """
    for text in filter(None, texts):
        log(f"warning: {text}")


def downloads(snakemake: Any) -> dict[str, str]:
    """Records of downloads among the inputs, by the model's name (their folder)."""
    return {Path(file).parent.name: file for file in snakemake.input.get("downloads", [])}
