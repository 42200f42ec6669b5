"""Circuits, pruning's pairs, DCM's training steps and CMAP against hooked whole prompts."""

from collections.abc import Callable
from itertools import combinations_with_replacement

import numpy as np
import torch

from benchmarks.rows import turns_row
from benchmarks.shapes import DEPTHS, Setting, Shape
from benchmarks.timing import sgemm_rate, take_turns
from entity_mech.engine.backgrounds import prepare_ablated
from entity_mech.engine.circuit_run import run_circuits
from entity_mech.engine.readout import logits, predictions
from entity_mech.engine.store import Head, StoredHeads
from entity_mech.methods.circuits import HeadGroup
from entity_mech.methods.dcm import GroupSplit, Split
from entity_mech.methods.head_patching import PatchData, heads_at, patched_predictions, plan_of
from tests.helpers.box_prompts import box_pairs, box_prompts
from tests.helpers.literal_circuits import head_outputs, literal_circuit
from tests.helpers.literal_patching import literal_patched

BOXES = 7
ROLES = ("label", "query_label", "last")
# Heads of the paper's circuit: letter -> (role, depths, number).
GROUPS = {
    "A": ("last", DEPTHS["A"][:2], 40),
    "B": ("last", DEPTHS["B"][:2], 7),
    "C": ("query_label", DEPTHS["C"][:2], 20),
    "D": ("label", DEPTHS["C"][:2], 5),
}


def draw_circuit(shape: Shape, rng: np.random.Generator) -> dict[str, list[tuple[int, int]]]:
    """A circuit of the paper's sizes at its depths; a small shape holds as many heads as there are."""
    found: dict[str, list[tuple[int, int]]] = {}
    for letter in ("B", "A", "C", "D"):  # B first: where heads are few, A would take them all
        role, (low, high), n = GROUPS[letter]
        layers = range(int(low * shape.layers), max(int(high * shape.layers), 1))
        taken = {h for other, heads in found.items() if GROUPS[other][0] == role for h in heads}
        room = [(la, h) for la in layers for h in range(shape.heads) if (la, h) not in taken]
        picked = rng.choice(len(room), min(n, len(room)), replace=False)
        found[letter] = sorted(room[i] for i in picked)
    return {letter: found[letter] for letter in GROUPS}


def mask_of(shape: Shape, circuit: dict[str, list[tuple[int, int]]]) -> np.ndarray:
    """Kept heads, bool [role, layer, head]."""
    mask = np.zeros((len(ROLES), shape.layers, shape.heads), bool)
    for letter, heads in circuit.items():
        for layer, head in heads:
            mask[ROLES.index(GROUPS[letter][0]), layer, head] = True
    return mask


def _sgemm(shape: Shape) -> Callable[[], float]:
    return lambda: sgemm_rate(shape.d_model, 2 * shape.d_mlp)


def measure_circuits(
    setting: Setting, n_prompts: int, n_literal: int, seconds: float, pairs: tuple[str, ...] = ("A", "B", "C", "D")
) -> list[dict[str, object]]:
    """50 circuits of the paper's size in a batch, and all pairwise drops of each group of one circuit."""
    shape, rng = setting.shape, np.random.default_rng(0)
    base = draw_circuit(shape, rng)
    whole = mask_of(shape, base)
    jobs = {"50 circuits": np.stack([mask_of(shape, draw_circuit(shape, rng)) for _ in range(50)])}
    for letter in pairs:
        masks = []
        for gone in combinations_with_replacement(base[letter], 2):
            masks.append(whole.copy())
            for layer, head in gone:
                masks[-1][ROLES.index(GROUPS[letter][0]), layer, head] = False
        jobs[f"pairs {letter}"] = np.stack(masks)
    prompts = box_prompts(0, n_prompts, BOXES, min(shape.vocab, 200))
    means = head_outputs(setting.model, box_prompts(1, 8, BOXES, min(shape.vocab, 200)).ids).mean(0)
    return [_measure_masks(setting, what, masks, prompts, means, n_literal, seconds) for what, masks in jobs.items()]


def _measure_masks(setting, what, masks, prompts, means, n_literal: int, seconds: float) -> dict[str, object]:
    """One batch of circuits on the same prompts; every circuit costs the literal way the same."""
    positions = np.stack([prompts.roles[role] for role in ROLES], 1)
    ids, length, at = (torch.as_tensor(x) for x in (prompts.ids, prompts.length, positions))
    engine: dict[str, torch.Tensor] = {}
    literal: dict[int, torch.Tensor] = {}

    def fast() -> None:
        background = prepare_ablated(setting.decoder, ids, length, means)
        engine["final"] = run_circuits(setting.decoder, background, at, torch.as_tensor(masks))
        predictions(setting.decoder, engine["final"])

    def slow(i: int) -> None:
        literal[i] = literal_circuit(setting.model, prompts.ids, prompts.length, positions, masks[i], means)

    chosen = np.random.default_rng(1).choice(len(masks), min(n_literal, len(masks)), replace=False).tolist()
    turns = take_turns(fast, [lambda i=i: slow(i) for i in chosen], _sgemm(setting.shape), seconds)
    with torch.inference_mode():
        gap = max((logits(setting.decoder, engine["final"][i]) - x).abs().max().item() for i, x in literal.items())
    ran = f"{len(chosen)} of {len(masks)} circuits, {len(prompts)} prompts"
    return turns_row(what, turns, len(masks), ran=ran, gap=gap)


def _stored(setting: Setting, ids: np.ndarray, roles: dict[str, np.ndarray]) -> StoredHeads:
    """The transformers model's own head outputs at the circuit's roles."""
    z, rows = head_outputs(setting.model, ids), torch.arange(len(ids))
    return StoredHeads(torch.stack([z[rows, torch.as_tensor(roles[r])] for r in ROLES], 1).numpy(), ROLES)


def measure_dcm(setting: Setting, n_literal: int, seconds: float, batch: int = 32) -> list[dict[str, object]]:
    """A training step (forward and backward) of each group's mask on `batch` pairs, prefixes kept.

    The literal way runs eager attention, which its gradients need, on whole prompts.
    """
    shape = setting.shape
    pairs = box_pairs(0, batch, BOXES, min(shape.vocab, 200))
    data = PatchData(pairs, _stored(setting, pairs.source.ids, pairs.source.roles))
    circuit = draw_circuit(shape, np.random.default_rng(0))
    rows = []
    for letter, heads in circuit.items():
        group = HeadGroup(letter, letter, GROUPS[letter][0], tuple(heads))
        split = Split(setting.decoder, data, [plan_of(heads_at(group))], 8 << 30)
        rows.append(_measure_step(setting, letter, GroupSplit(split, group), data, n_literal, seconds))
    return rows


def _measure_step(setting, letter: str, mine: GroupSplit, data: PatchData, n_literal: int, seconds: float):
    base, everyone = data.pairs.base, np.arange(len(data.pairs))
    ids, last = torch.as_tensor(base.ids), torch.as_tensor(base.length - 1)
    target = torch.as_tensor(data.pairs.target)
    grads: dict[str, torch.Tensor] = {}

    def step(name: str, logit: Callable[[torch.Tensor], torch.Tensor]) -> None:
        weights = torch.full((len(mine.heads),), 0.7, requires_grad=True)
        torch.autograd.backward(-logit(weights).mean() + 0.01 * (1 - weights).sum())
        assert weights.grad is not None
        grads[name] = weights.grad

    def literal_logit(weights: torch.Tensor) -> torch.Tensor:
        edits = []
        for layer in dict.fromkeys(head[1] for head in mine.heads):
            index = [i for i, head in enumerate(mine.heads) if head[1] == layer]
            at = torch.as_tensor(base.roles[mine.heads[0][0]])
            edits.append((layer, at, [mine.heads[i][2] for i in index], mine.values[:, index], weights[index]))
        return literal_patched(setting.model, ids, last, edits)[torch.arange(len(ids)), target]

    turns = take_turns(
        lambda: step("engine", lambda w: mine.target_logit(w, everyone)),
        [lambda: step("literal", literal_logit)] * n_literal,
        _sgemm(setting.shape),
        seconds,
    )
    gap = (grads["engine"] - grads["literal"]).abs().max().item()
    return turns_row(f"DCM step {letter}", turns, 1, ran=f"{len(everyone)} pairs", gap=gap)


def measure_cmap(
    setting: Setting, n_prompts: int, n_literal: int, seconds: float, draws: int = 10
) -> dict[str, object]:
    """Each group, their union, and 10 random controls each, patched from another model on the same prompts."""
    shape = setting.shape
    prompts = box_prompts(0, n_prompts, BOXES, min(shape.vocab, 200))
    other = box_prompts(5, n_prompts, BOXES, min(shape.vocab, 200))
    outputs = _stored(setting, other.ids, prompts.roles)  # what a donor gives is not the benchmark's concern
    rng = np.random.default_rng(0)
    patches: dict[str, list[tuple[Head, ...]]] = {}
    for letter in (*GROUPS, "full"):
        circuits = [draw_circuit(shape, rng) for _ in range(1 + draws)]
        names = GROUPS if letter == "full" else (letter,)
        patches[letter] = [tuple((GROUPS[n][0], *h) for n in names for h in c[n]) for c in circuits]
    engine: dict[str, dict[str, np.ndarray]] = {}
    literal: dict[tuple[str, int], np.ndarray] = {}

    def fast() -> None:
        engine["found"] = patched_predictions(setting.decoder, prompts, outputs, patches)

    def slow(name: str, variant: int) -> None:
        edits = []
        for role, layer in dict.fromkeys((role, layer) for role, layer, _ in patches[name][variant]):
            heads = [h for r, la, h in patches[name][variant] if (r, la) == (role, layer)]
            values = torch.as_tensor(outputs.at(role, [(layer, h) for h in heads]))
            edits.append((layer, torch.as_tensor(prompts.roles[role]), heads, values, torch.zeros(len(heads))))
        with torch.inference_mode():
            found = literal_patched(
                setting.model, torch.as_tensor(prompts.ids), torch.as_tensor(prompts.length - 1), edits
            )
        literal[name, variant] = found.argmax(-1).numpy()

    asked = [(name, i) for i in range(n_literal) for name in patches][:n_literal]
    turns = take_turns(fast, [lambda a=a: slow(*a) for a in asked], _sgemm(shape), seconds)
    total = sum(map(len, patches.values()))
    wrong = float(np.mean([(engine["found"][n][i] != x).mean() for (n, i), x in literal.items()]))
    ran = f"{len(asked)} of {total} variants, {n_prompts} prompts"
    return turns_row("CMAP", turns, total, ran=ran, gap=wrong)


def with_eager(setting: Setting) -> Setting:
    """The same setting whose transformers model runs eager attention (DCM's gradients)."""
    setting.model.set_attn_implementation("eager")
    return setting
