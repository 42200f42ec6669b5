"""CPU time of pieces of work that take turns, and the machine's matrix-multiply rate in the same run."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process (all threads) while `work` runs."""
    first = time.process_time()
    work()
    return time.process_time() - first


def sgemm_rate(d_in: int, d_out: int, rows: int = 256, seconds: float = 0.2) -> float:
    """FLOP a CPU-second of [rows, d_in] @ [d_in, d_out] in float32, as torch does it for the literal way."""
    x, w = torch.randn(rows, d_in), torch.randn(d_out, d_in)
    product = lambda: torch.nn.functional.linear(x, w)  # noqa: E731
    cpu_seconds(product)
    done, spent = 0, 0.0
    while spent < seconds:
        spent += cpu_seconds(lambda: [product() for _ in range(8)])
        done += 8
    return done * 2 * rows * d_in * d_out / spent


@dataclass
class Turns:
    """CPU seconds of two sides that took turns, and the matrix-multiply rate between them."""

    fast: list[float] = field(default_factory=list)
    slow: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    @property
    def fast_s(self) -> float:
        return float(np.median(self.fast))

    @property
    def slow_s(self) -> float:
        return float(np.median(self.slow))

    @property
    def sgemm(self) -> float:
        return float(np.median(self.rate))


def take_turns(
    fast: Callable[[], object],
    slow: list[Callable[[], object]],
    sgemm: Callable[[], float],
    seconds: float,
    most: int = 9,
) -> Turns:
    """Run one of `slow`, then `fast`, in turns, so that a busy machine hits both alike.

    Every piece of `slow` runs at least once and `fast` at least once; it goes on until `fast` has taken
    `seconds`. The first, cold run of a side is not counted, unless it took more than twice `seconds`.
    """
    turns = Turns()
    warm_slow, warm = cpu_seconds(slow[0]), cpu_seconds(fast)
    if warm_slow > 2 * seconds:
        turns.slow.append(warm_slow)
    while not turns.fast or len(turns.slow) < len(slow) or (sum(turns.fast) < seconds and len(turns.fast) < most):
        if len(turns.slow) < len(slow) or warm_slow <= 2 * seconds:
            turns.slow.append(cpu_seconds(slow[len(turns.slow) % len(slow)]))
        turns.rate.append(sgemm())
        if not turns.fast or (sum(turns.fast) < seconds and len(turns.fast) < most):
            turns.fast.append(warm if warm > 2 * seconds else cpu_seconds(fast))
    return turns
