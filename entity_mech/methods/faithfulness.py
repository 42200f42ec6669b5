"""How much of a model's accuracy a circuit carries (method, section 6; paper, section 3.3)."""

from collections import Counter

import numpy as np
import pandas as pd
from torch import Tensor

from entity_mech.engine.circuit_batches import circuit_correct
from entity_mech.methods.circuits import Circuit
from entity_mech.methods.intervals import mean_interval, ratio_interval
from entity_mech.models.decoder import Decoder
from entity_mech.task.tokens import TokenizedPrompts

COLUMNS = [
    "model", "circuit", "kind", "draw", "heads", "accuracy", "accuracy_low", "accuracy_high",
    "faithfulness", "faithfulness_low", "faithfulness_high", "n",
]  # fmt: skip


def random_mask(circuit: Circuit, n_layers: int, n_heads: int, seed: int, draw: int) -> np.ndarray:
    """A random circuit with as many heads at each token as the given one, [role, layer, head].

    Drawn from all heads of the model without replacement; groups at one token share the draw, so that none
    of their heads coincide. A draw does not depend on how many others there are.
    """
    rng = np.random.default_rng([seed, draw])
    counts = Counter(dict.fromkeys(circuit.roles, 0))
    for group in circuit.groups:
        counts[group.role] += len(group.heads)
    mask = np.zeros((len(circuit.roles), n_layers * n_heads), dtype=bool)
    for row, role in zip(mask, circuit.roles, strict=True):
        row[rng.choice(len(row), counts[role], replace=False)] = True
    return mask.reshape(-1, n_layers, n_heads)


def faithfulness(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    means: Tensor,
    circuit: Circuit,
    model_correct: np.ndarray,
    *,
    draws: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """A circuit, of this model or another, in a model: F of the model, the circuit, its ceiling, random ones.

    Args:
        prompts: the evaluation split.
        means: mean head outputs [pos, layer, head, d_head] of this model.
        model_correct: whether the intact model is right [prompt], from `behaviour`.
        draws: random circuits of the same size, without replacement.

    The ceiling keeps all heads at the circuit's tokens: a subset may exceed it. Columns: model, circuit (the
    model it was found in), kind (model, circuit, ceiling or random), draw (of a random circuit), heads,
    accuracy and faithfulness (accuracy over the model's) with intervals, n (prompts).
    """
    shape = decoder.shape
    size = (shape.n_layers, shape.n_heads)
    masks = [circuit.to_mask(circuit.roles, *size), np.ones((len(circuit.roles), *size), dtype=bool)]
    masks += [random_mask(circuit, *size, seed, draw) for draw in range(draws)]
    correct = circuit_correct(
        decoder, prompts, means, circuit.roles, np.stack(masks), label=f"circuit of {circuit.model}"
    )
    kinds: list[tuple[str, int | None]] = [("circuit", None), ("ceiling", None)]
    kinds += [("random", draw) for draw in range(draws)]
    whole = np.asarray(model_correct, dtype=bool)
    rows = [_row("model", None, shape.n_layers * shape.n_heads, whole, whole, prompts.scene)]
    for (kind, draw), mask, right in zip(kinds, masks, correct, strict=True):
        rows.append(_row(kind, draw, int(mask.sum()), right, whole, prompts.scene))
    table = pd.DataFrame(rows, columns=COLUMNS[2:])
    table["draw"] = table["draw"].astype("Int64")
    table.insert(0, "circuit", circuit.model)
    table.insert(0, "model", decoder.name)
    return table


def _row(
    kind: str,
    draw: int | None,
    heads: int,
    right: np.ndarray,
    whole: np.ndarray,
    scene: np.ndarray,
    seed: int,
) -> tuple[object, ...]:
    share = ratio_interval(right, whole, scene, seed)
    return kind, draw, heads, *mean_interval(right, scene, seed), *share, len(right)
