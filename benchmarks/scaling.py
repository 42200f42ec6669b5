"""Cost of the four searches against the amount of work, and peak memory, each with its log-log slope."""

import ctypes
import gc
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import shapes
from benchmarks.path_patching import corrupted_outputs, engine_answers
from benchmarks.shapes import CHAIN, SHAPES, Setting
from benchmarks.timing import cpu_seconds
from entity_mech.engine.clean import run_clean
from entity_mech.engine.search_batch import KEPT

ROOT = Path(__file__).resolve().parents[1]
BASE = replace(SHAPES["6x8x256"], layers=8)
VARIED: dict[str, list[int]] = {
    "prompts": [7, 14, 28, 56],
    "layers": [4, 8, 16, 32],
    "heads": [4, 8, 16, 32],
    "prompt length": [26, 40, 54, 75, 110],
}


def setting_for(axis: str, value: int) -> Setting:
    """One point of an axis; heads grow at a fixed d_model and d_head, boxes with the prompt's length."""
    shape, n_prompts, n_pos = BASE, 7, shapes.N_POS
    if axis == "prompts":
        n_prompts = value
    elif axis == "layers":
        shape = replace(shape, layers=value)
    elif axis == "heads":
        shape = replace(shape, heads=value, kv_heads=value)
    else:
        n_pos = value
    return Setting(shape, n_prompts, n_pos=n_pos)


def chain_seconds(setting: Setting) -> float:
    """CPU time of clean and corrupted runs and the four searches, once."""

    def work() -> None:
        clean = run_clean(setting.decoder, setting.ids, KEPT)
        for group in CHAIN:
            engine_answers(setting, group, clean, corrupted_outputs(setting, group))

    with torch.inference_mode():
        return cpu_seconds(work)


def slope(x: list[float], y: list[float]) -> float:
    """Least-squares slope of log y by log x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def measure_scaling(repeats: int, quick: bool) -> list[dict[str, object]]:
    """Cost against prompts, layers, heads and prompt length; points of an axis take turns."""
    rows: list[dict[str, object]] = []
    for axis, all_values in VARIED.items():
        values = all_values[:3] if quick else all_values
        settings = [setting_for(axis, value) for value in values]
        chain_seconds(settings[0])
        times = np.median([[chain_seconds(setting) for setting in settings] for _ in range(repeats)], axis=0)
        steep = slope([float(v) for v in values], times.tolist())
        rows += [
            {"axis": axis, "value": value, "engine_s": seconds, "slope": steep}
            for value, seconds in zip(values, times.tolist(), strict=True)
        ]
    return rows


def peak_memory(shape: str, n_prompts: int, stage: str) -> float:
    """Peak resident memory (MiB) that a stage adds to a process that holds the model, in its own process."""
    code = "import sys; from benchmarks.scaling import report_peak; report_peak(*sys.argv[1:])"
    command = [sys.executable, "-c", code, shape, str(n_prompts), stage]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def _resident(field: str) -> float:
    """Resident memory of this process in MiB: VmRSS now, VmHWM its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def report_peak(shape: str, n_prompts: str, stage: str) -> None:
    """Print what `stage` adds to this process's memory at its peak, in MiB. Linux only.

    Making a model takes more than holding it, so the peak is counted anew once it is made.
    """
    torch.set_num_threads(1)
    from benchmarks.memory_stages import STAGES

    work = STAGES[stage](SHAPES[shape], int(n_prompts))
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    with torch.inference_mode():
        work()
    print(_resident("VmHWM") - before)
