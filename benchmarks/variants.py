"""Measured answers about ways to do a search differently: threads, bfloat16, averaged sources, ragged rows.

Every row compares two sides that took turns; `ratio` is the second side's time over the first's (wall time for
threads, CPU time otherwise). The machine's load average stands beside each row, as other work may run on it.
"""

import os
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.attribution import rank_correlation
from benchmarks.path_patching import corrupted_outputs, engine_answers
from benchmarks.shapes import LABELS, Setting
from benchmarks.timing import cpu_seconds
from entity_mech.engine.clean import run_clean
from entity_mech.engine.path_patching import clean_answer, patched_answers
from entity_mech.engine.search_batch import KEPT, SearchBatch
from entity_mech.models.decoder import Decoder
from tests.helpers.random_models import decoder_from

Work = Callable[[], object]


def _clocks(work: Work) -> tuple[float, float]:
    """CPU and wall seconds."""
    started = time.perf_counter()
    return cpu_seconds(work), time.perf_counter() - started


def compare(what: str, sides: dict[str, Work], repeats: int, *, by_wall: bool = False) -> dict[str, object]:
    """Median times of two sides after a first run of each that is not counted."""
    for work in sides.values():
        work()
    times = np.median([[_clocks(work) for work in sides.values()] for _ in range(repeats)], 0)
    ratio = times[1] / times[0]
    first, second = sides
    row: dict[str, object] = {"what": what, "first": first, "second": second}
    row |= {"first_cpu_s": times[0, 0], "second_cpu_s": times[1, 0]}
    row |= {"first_wall_s": times[0, 1], "second_wall_s": times[1, 1]}
    return row | {"ratio": ratio[int(by_wall)], "load": os.getloadavg()[0]}


def threads(setting: Setting, repeats: int) -> dict[str, object]:
    """Search D on one thread and on two."""
    clean, z = run_clean(setting.decoder, setting.ids, KEPT), corrupted_outputs(setting, "D")

    def search(n: int) -> None:
        torch.set_num_threads(n)
        engine_answers(setting, "D", clean, z)
        torch.set_num_threads(1)

    sides: dict[str, Work] = {"1 thread": lambda: search(1), "2 threads": lambda: search(2)}
    return compare("threads, search D", sides, repeats, by_wall=True)


def bfloat16(setting: Setting, group: str, repeats: int) -> dict[str, object]:
    """One search in float32 and in bfloat16, and how far its mean scores are apart."""
    z = corrupted_outputs(setting, group)
    facts, receivers = (setting.length, setting.answer, setting.token(group)), setting.receivers(group)
    scores: dict[torch.dtype, np.ndarray] = {}

    def side(dtype: torch.dtype) -> Work:
        decoder: Decoder = decoder_from(setting.model, dtype)
        batch = SearchBatch.of(decoder, setting.ids, *facts)
        p_clean = clean_answer(decoder, batch)[0]

        def work() -> None:
            p = patched_answers(decoder, batch, z, receivers)[0]
            scores[dtype] = ((p - p_clean) / p_clean).mean(1).double().numpy()

        return work

    sides = {"float32": side(torch.float32), "bfloat16": side(torch.bfloat16)}
    row = compare(f"bfloat16, search {group}", sides, repeats)
    exact, rough = scores[torch.float32], scores[torch.bfloat16]
    error, moved = np.abs(rough - exact), exact != 0
    row |= {"error_mean": error[moved].mean(), "error_max": error.max(), "score_max": np.abs(exact).max()}
    return row | {"spearman": rank_correlation(exact[moved], rough[moved])}


def averaged_sources(setting: Setting, repeats: int) -> dict[str, object]:
    """Search D from its own label slot of the corrupted prompt, and averaged over all seven slots in one go."""
    rows = torch.arange(len(setting.ids))

    def search(slots: list[torch.Tensor]) -> torch.Tensor:
        clean = run_clean(setting.decoder, setting.ids, KEPT)
        z = run_clean(setting.decoder, setting.other, {"z"}, setting.shape.layers - 1).z
        found = [
            engine_answers(setting, "D", clean, torch.stack([layer[rows, slot] for layer in z], 1)) for slot in slots
        ]
        return torch.stack(found).mean(0)

    every = [torch.full_like(rows, label) for label in LABELS]
    sides: dict[str, Work] = {"one slot": lambda: search([setting.label]), "seven slots": lambda: search(every)}
    return compare("averaged sources, search D", sides, repeats)


def ragged(setting: Setting, repeats: int) -> dict[str, object]:
    """Search D on seven suffix lengths (seven groups of a prompt) and on one (a group of seven): as many tokens.

    What the second side takes less is the most that rows of unequal suffixes in one product could win.
    """
    clean, z = run_clean(setting.decoder, setting.ids, KEPT), corrupted_outputs(setting, "D")
    receivers = setting.receivers("D")
    middle = torch.full_like(setting.label, LABELS[len(LABELS) // 2])
    assert (setting.length - setting.label).sum() == (setting.length - middle).sum()

    def search(pos: torch.Tensor) -> None:
        patched_answers(setting.decoder, SearchBatch(clean, setting.length, setting.answer, pos), z, receivers)

    sides: dict[str, Work] = {"seven lengths": lambda: search(setting.label), "one length": lambda: search(middle)}
    return compare("ragged rows, search D", sides, repeats)


def measure_variants(setting: Setting, repeats: int) -> list[dict[str, object]]:
    """All of them on seven prompts, one for each label slot."""
    with torch.inference_mode():
        return [
            threads(setting, repeats),
            *(bfloat16(setting, group, repeats) for group in "AD"),
            averaged_sources(setting, 1),
            ragged(setting, repeats),
        ]
