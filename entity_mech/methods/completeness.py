"""Is anything missing from a circuit? (method, section 6; paper, section 4)

A complete circuit C behaves as the model does when the same heads K are removed from both: |F(C - K) - F(M - K)|
is small. M - K is the intact model with only K's heads mean-ablated, at their tokens.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from entity_mech.engine.circuit_batches import circuit_correct
from entity_mech.engine.store import Head
from entity_mech.methods.circuits import Circuit
from entity_mech.methods.head_ablation import correct_without
from entity_mech.methods.intervals import difference_interval, mean_interval
from entity_mech.models.decoder import Decoder
from entity_mech.task.tokens import TokenizedPrompts

COLUMNS = [
    "model", "circuit", "kind", "draw", "group", "heads", "accuracy_circuit", "accuracy_model",
    "difference", "low", "high", "incompleteness", "recall", "recall_low", "recall_high", "n",
]  # fmt: skip


def heads_of(circuit: Circuit) -> list[Head]:
    """The circuit's heads as (role, layer, head)."""
    return [(group.role, layer, head) for group in circuit.groups for layer, head in group.heads]


def random_half(circuit: Circuit, seed: int, draw: int) -> list[Head]:
    """Half of the circuit's heads, rounded down; the same whatever the number of draws."""
    heads = heads_of(circuit)
    chosen = np.random.default_rng([seed, draw]).choice(len(heads), len(heads) // 2, replace=False)
    return [heads[i] for i in sorted(chosen)]


def removed_sets(circuit: Circuit, draws: int, seed: int) -> list[tuple[str, int | None, str | None, list[Head]]]:
    """The sets K: nothing, random halves, and each group that has heads, as (kind, draw, group, heads)."""
    sets: list[tuple[str, int | None, str | None, list[Head]]] = [("nothing", None, None, [])]
    sets += [("half", draw, None, random_half(circuit, seed, draw)) for draw in range(draws)]
    for group in circuit.groups:
        if group.heads:
            heads = [(group.role, layer, head) for layer, head in group.heads]
            sets.append(("group", None, group.name, heads))
    return sets


def masks_without(circuit: Circuit, sets: Sequence[Sequence[Head]], n_layers: int, n_heads: int) -> np.ndarray:
    """The circuit without each set of heads, bool [set, role, layer, head]."""
    masks = np.repeat(circuit.to_mask(circuit.roles, n_layers, n_heads)[None], len(sets), 0)
    for mask, heads in zip(masks, sets, strict=True):
        for role, layer, head in heads:
            mask[circuit.roles.index(role), layer, head] = False
    return masks


def completeness(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    means: Tensor,
    circuit: Circuit,
    *,
    draws: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """F(C - K) and F(M - K) for random halves K of the circuit and for each of its groups.

    prompts: the evaluation split. means: [pos, layer, head, d_head] of this model. Columns: model, circuit, kind
    (nothing: K is empty; half; group), draw, group, heads (in K), accuracy_circuit, accuracy_model, difference
    (circuit minus model) with its interval, incompleteness (its absolute value), recall (share of the right answers
    of M - K that C - K gives too) with its interval, n (prompts).
    """
    sets = removed_sets(circuit, draws, seed)
    removed = [heads for *_, heads in sets]
    masks = masks_without(circuit, removed, decoder.shape.n_layers, decoder.shape.n_heads)
    ours = circuit_correct(decoder, prompts, means, circuit.roles, masks, label="circuit without K")
    theirs = correct_without(decoder, prompts, means, removed, label="model without K")
    rows = []
    for (kind, draw, group, heads), a, b in zip(sets, ours, theirs, strict=True):
        difference = difference_interval(a, b, prompts.scene)
        about = (kind, draw, group, len(heads), a.mean(), b.mean())
        recall = mean_interval(a[b], prompts.scene[b])
        rows.append((*about, *difference, abs(difference.value), *recall, len(prompts)))
    table = pd.DataFrame(rows, columns=COLUMNS[2:])
    table["draw"] = table["draw"].astype("Int64")
    table.insert(0, "circuit", circuit.model)
    table.insert(0, "model", decoder.name)
    return table
