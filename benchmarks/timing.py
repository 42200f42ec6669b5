"""CPU time of interleaved pieces of work, and the machine's matrix-multiply rate in the same run."""

import time
from collections.abc import Callable

import torch


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process (all threads) while `work` runs."""
    first = time.process_time()
    work()
    return time.process_time() - first


def sgemm_rate(d_in: int, d_out: int, rows: int = 256, seconds: float = 0.4) -> float:
    """FLOP a CPU-second of [rows, d_in] @ [d_in, d_out] in float32, single process."""
    x, w = torch.randn(rows, d_in), torch.randn(d_out, d_in)
    product = lambda: torch.nn.functional.linear(x, w)  # noqa: E731
    cpu_seconds(product)
    done, spent = 0, 0.0
    while spent < seconds:
        spent += cpu_seconds(lambda: [product() for _ in range(8)])
        done += 8
    return done * 2 * rows * d_in * d_out / spent


def interleaved(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each side, taking turns so that a noisy machine hits all sides alike."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, work in sides.items():
            times[name].append(cpu_seconds(work))
    return {name: sorted(found)[len(found) // 2] for name, found in times.items()}
