"""How far a long stage has come: a bar on a terminal, lines with an estimate in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

EVERY = 5.0  # seconds between two lines of a log
Item = TypeVar("Item")


def log(message: str) -> None:
    """One line with the time of day on stderr, which is the job's log when a workflow runs it."""
    tqdm.write(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr)
    sys.stderr.flush()


def track(iterable: Iterable[Item], total: int | None = None, label: str = "") -> Iterator[Item]:
    """Yield the items, telling how many are done, the time taken and the time left.

    total: number of items, needed for an estimate; taken from the iterable when it has a length. In a log the
    first item, the last and one every few seconds make a line: "label 3/10 (30%), 12 s, about 28 s left".
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if sys.stderr.isatty():
        yield from tqdm(iterable, total=total, desc=label, file=sys.stderr, dynamic_ncols=True)
        return
    start = last = time.monotonic()
    done = told = 0
    for done, item in enumerate(iterable, 1):
        yield item
        now = time.monotonic()
        if done == 1 or done == total or now - last >= EVERY:
            log(line(label, done, total, now - start))
            last, told = now, done
    if told < done:  # the total was unknown, or wrong
        log(line(label, done, done, time.monotonic() - start))


def line(label: str, done: int, total: int | None, seconds: float) -> str:
    """A line of progress, as `track` writes it."""
    name = f"{label} " if label else ""
    if total is None:
        return f"{name}{done}, {duration(seconds)}"
    text = f"{name}{done}/{total} ({100 * done // max(total, 1)}%), {duration(seconds)}"
    if 0 < done < total:
        text += f", about {duration(seconds / done * (total - done))} left"
    return text


def duration(seconds: float) -> str:
    """Seconds as a person says them: "4 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
