"""Stages whose peak memory is measured, through the same functions that the workflow calls.

Each takes a shape and a number of prompts and returns the work, with models and prompts already made. The memory
budget is small, so that a few dozen prompts already are several batches.
"""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.patching import BOXES, GROUPS, ROLES, draw_circuit, mask_of
from benchmarks.shapes import Setting, Shape
from entity_mech.engine import memory
from entity_mech.engine.circuit_batches import circuit_correct
from entity_mech.engine.memory import path_patching_batch
from entity_mech.engine.store import StoredHeads
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.dcm import DcmOptions, Desideratum, run_dcm
from entity_mech.methods.head_patching import PatchData, heads_at, patched_predictions
from entity_mech.methods.path_patching import Chain, ScoredPrompts, run_chain
from entity_mech.methods.searches import PathPatchingOptions, PathSearch
from tests.helpers.box_prompts import box_pairs, box_prompts

BUDGET = 64 << 20
SEARCHES = [
    PathSearch("a", "A", "last", (), 20, 40),
    PathSearch("b", "B", "last", (("a", "q"),), 5, 7),
    PathSearch("c", "C", "query_label", (("b", "v"),), 10, 20),
    PathSearch("d", "D", "label", (("c", "v"),), 0, 5),
]

Work = Callable[[], object]


def _random_outputs(shape: Shape, n: int) -> StoredHeads:
    rng = np.random.default_rng(0)
    size = (n, len(ROLES), shape.layers, shape.heads, shape.d_head)
    return StoredHeads(rng.standard_normal(size, dtype=np.float32), ROLES)


def _prepare(shape: Shape) -> Setting:
    memory.CPU_BYTES = BUDGET
    return Setting(shape, 1)


def path_patching(shape: Shape, n: int) -> Work:
    setting, prompts = _prepare(shape), box_prompts(0, n, BOXES, 200)
    rng = np.random.default_rng(0)

    def outputs(kind: str, role: str, rows: np.ndarray) -> np.ndarray:
        return rng.standard_normal((len(rows), shape.layers, shape.heads, shape.d_head), dtype=np.float32)

    options = PathPatchingOptions(null=False, max_rows=4096)
    assert path_patching_batch(setting.decoder, prompts.ids.shape[1]) < n
    scored = ScoredPrompts(prompts, outputs, np.arange(n))
    return lambda: run_chain(Chain(setting.decoder, scored, options), SEARCHES)


def circuits(shape: Shape, n: int) -> Work:
    setting, prompts = _prepare(shape), box_prompts(0, n, BOXES, 200)
    rng = np.random.default_rng(0)
    masks = np.stack([mask_of(shape, draw_circuit(shape, rng)) for _ in range(20)])
    means = torch.randn(prompts.ids.shape[1], shape.layers, shape.heads, shape.d_head)
    return lambda: circuit_correct(setting.decoder, prompts, means, ROLES, masks)


def cmap(shape: Shape, n: int) -> Work:
    setting, prompts, outputs = _prepare(shape), box_prompts(0, n, BOXES, 200), _random_outputs(shape, n)
    circuit = draw_circuit(shape, np.random.default_rng(0))
    patches = {k: [tuple((GROUPS[k][0], *h) for h in heads)] * 11 for k, heads in circuit.items()}
    return lambda: patched_predictions(setting.decoder, prompts, outputs, patches)


def dcm(shape: Shape, n: int) -> Work:
    setting, pairs = _prepare(shape), box_pairs(0, n, BOXES, 200)
    data = PatchData(pairs, _random_outputs(shape, n))
    heads = draw_circuit(shape, np.random.default_rng(0))["A"]
    group = HeadGroup("A", "A", "last", tuple(heads))
    assert heads_at(group)
    options = DcmOptions(epochs=1, memory=BUDGET)
    desideratum = Desideratum("object", data, data, data)

    def work() -> None:
        with torch.inference_mode(False):
            run_dcm(setting.decoder, Circuit("m", (group,)), [desideratum], options)

    return work


STAGES: dict[str, Callable[[Shape, int], Work]] = {
    "path patching": path_patching,
    "circuits": circuits,
    "CMAP": cmap,
    "DCM": dcm,
}
