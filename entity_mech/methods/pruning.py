"""Pruning a circuit by minimality (method, section 5; paper, section 4).

The unpruned circuit C stays the reference throughout. A head v is judged with some heads K of its group
removed beside it, because heads that do the same work hide each other: K are those u whose removal lets v's
removal hurt most, that is those with the largest F(C - u) - F(C - {u, v}).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from entity_mech.engine.circuit_batches import circuit_correct
from entity_mech.engine.partial import NOTHING, Partial
from entity_mech.errors import UserError
from entity_mech.methods.circuits import Circuit, HeadGroup, HeadIndex
from entity_mech.models.decoder import Decoder
from entity_mech.seals import AGAIN
from entity_mech.task.tokens import TokenizedPrompts

Pair = tuple[str, HeadIndex, HeadIndex]  # (group, u, v), both in the group; u == v removes one head
Removal = tuple[str, tuple[HeadIndex, ...]]  # heads removed from one group of the circuit
Accuracy = Callable[[Sequence[Removal]], np.ndarray]  # F of the circuit without each removal
Answers = Callable[[Sequence[Removal]], np.ndarray]  # which prompts it answers correctly, bool [removal, prompt]
CircuitAnswers = Callable[[Sequence[Circuit]], np.ndarray]  # the same of whole circuits, bool [circuit, prompt]
PIECE = 256  # pairs between two writes of the partial file; circuits run together share work
SAME = 1e-7  # accuracies closer than this are equal: they are shares of prompts, read from text perhaps


@dataclass(frozen=True)
class PruningOptions:
    """threshold: least relative drop for a head to stay. knockout_fraction: size of K by the group's.

    least_prompts: fewest prompts that must be lost for a head to stay. restore_below: share of the candidates' right
    answers under which heads come back (`put_back`).
    """

    threshold: float = 0.01
    knockout_fraction: float = 0.3
    least_prompts: int = 2
    restore_below: float = 0.9


class Judged(NamedTuple):
    """Which prompts C - K and C - K - v answer correctly, bool [head, prompt]; heads as in the table of heads."""

    before: np.ndarray
    after: np.ndarray


@dataclass(frozen=True)
class Pruned:
    """The pruned circuit, its table of pairs, its table of heads, and the answers that this one rests on."""

    circuit: Circuit
    pairs: pd.DataFrame
    significance: pd.DataFrame
    judged: Judged


def removal_answers(
    decoder: Decoder, prompts: TokenizedPrompts, means: Tensor, circuit: Circuit, label: str = "pruning"
) -> Answers:
    """A function that gives the circuit's right answers without some heads, for many removals at once."""
    shape = decoder.shape
    whole = circuit.to_mask(circuit.roles, shape.n_layers, shape.n_heads)
    role = {group.name: circuit.roles.index(group.role) for group in circuit.groups}

    def answers(removals: Sequence[Removal]) -> np.ndarray:
        masks = np.repeat(whole[None], len(removals), 0)
        for mask, (group, heads) in zip(masks, removals, strict=True):
            for layer, head in heads:
                mask[role[group], layer, head] = False
        return circuit_correct(decoder, prompts, means, circuit.roles, masks, label=label)

    return answers


def removal_accuracy(decoder: Decoder, prompts: TokenizedPrompts, means: Tensor, circuit: Circuit) -> Accuracy:
    """A function that gives F of the circuit without some heads, for many removals at once."""
    answers = removal_answers(decoder, prompts, means, circuit)
    return lambda removals: np.asarray(answers(removals).mean(1))


def circuit_answers(decoder: Decoder, prompts: TokenizedPrompts, means: Tensor, label: str) -> CircuitAnswers:
    """A function that gives the right answers of circuits with the same groups, for many of them at once."""
    size = (decoder.shape.n_layers, decoder.shape.n_heads)

    def answers(circuits: Sequence[Circuit]) -> np.ndarray:
        roles = circuits[0].roles
        masks = np.stack([circuit.to_mask(roles, *size) for circuit in circuits])
        return circuit_correct(decoder, prompts, means, roles, masks, label=label)

    return answers


def circuit_accuracy(
    decoder: Decoder, prompts: TokenizedPrompts, means: Tensor
) -> Callable[[Sequence[Circuit]], np.ndarray]:
    """A function that gives F of circuits with the same groups, for the choice of how many heads to keep."""
    answers = circuit_answers(decoder, prompts, means, "knee")
    return lambda circuits: np.asarray(answers(circuits).mean(1))


def all_pairs(circuit: Circuit) -> list[Pair]:
    """Every pair of heads of a group, each once, and every head with itself."""
    return [
        (group.name, u, v) for group in circuit.groups for i, u in enumerate(group.heads) for v in group.heads[i:]
    ]


def shard_pairs(pairs: Sequence[Pair], shard: int, shards: int) -> list[Pair]:
    """Every `shards`-th pair, from number `shard` on: each shard gets its share of each group."""
    return list(pairs[shard::shards])


def join_pairs(circuit: Circuit, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The table of all pairs of a circuit from its shards' tables. Raises UserError when it is another circuit's."""
    pairs = all_pairs(circuit)
    order = np.concatenate([np.arange(len(pairs))[shard :: len(tables)] for shard in range(len(tables))])
    table = pd.concat(tables, ignore_index=True)
    if len(table) == len(pairs):
        table = table.iloc[np.argsort(order)].reset_index(drop=True)
    named = table[["group", "layer_1", "head_1", "layer_2", "head_2"]].to_numpy().tolist()
    if named != [[group, *u, *v] for group, u, v in pairs]:
        raise UserError(f"{circuit.model}: pruning_pairs holds shards of other candidates. {AGAIN}")
    return table


def pair_table(
    pairs: Sequence[Pair], accuracy: Accuracy, partial: Partial = NOTHING, piece: int = PIECE
) -> pd.DataFrame:
    """Accuracy without both heads of each pair, in the order given; a list of pairs may be cut anywhere.

    partial: pieces of the list that a killed job did; those done here are put there.
    Columns: group, layer_1, head_1, layer_2, head_2, accuracy_without_both.
    """
    removals = [(group, (u,) if u == v else (u, v)) for group, u, v in pairs]
    found = [np.zeros(0)]
    for first in range(0, len(removals), piece):
        known = partial.get(f"pairs {first}")
        if known is None:
            known = {"accuracy": accuracy(removals[first : first + piece])}
            partial.put(f"pairs {first}", known)
        found.append(known["accuracy"])
    return pd.DataFrame(
        {
            "group": [group for group, _, _ in pairs],
            "layer_1": [u[0] for _, u, _ in pairs],
            "head_1": [u[1] for _, u, _ in pairs],
            "layer_2": [v[0] for _, _, v in pairs],
            "head_2": [v[1] for _, _, v in pairs],
            "accuracy_without_both": np.concatenate(found),
        }
    )


def pair_matrix(group: HeadGroup, pairs: pd.DataFrame) -> np.ndarray:
    """Accuracy without two heads of a group as a symmetric [head, head]; on the diagonal, without one.

    Raises ValueError when a pair is missing from the table.
    """
    matrix = np.full((len(group.heads), len(group.heads)), np.nan)
    place = {head: i for i, head in enumerate(group.heads)}
    own = pairs[pairs["group"] == group.name]
    first, second = own[["layer_1", "head_1"]].to_numpy(), own[["layer_2", "head_2"]].to_numpy()
    for u, v, accuracy in zip(first.tolist(), second.tolist(), own["accuracy_without_both"], strict=True):
        i, j = place[tuple(u)], place[tuple(v)]
        matrix[i, j] = matrix[j, i] = accuracy
    if np.isnan(matrix).any():
        raise ValueError(f"group {group.name}: the table of pairs is not complete")
    return matrix


def knocked_out(group: HeadGroup, matrix: np.ndarray, v: int, fraction: float) -> list[int]:
    """K of head number v: up to ceil(fraction * n) others with the largest positive drop.

    Ties: the stronger path-patching score, then layer, then head.
    """
    drop = np.diag(matrix) - matrix[:, v]
    ordered = np.sort(drop)
    level = np.concatenate([[0], np.cumsum(np.diff(ordered) > SAME)])[np.searchsorted(ordered, drop)]
    positive = [u for u in range(len(group.heads)) if u != v and drop[u] > SAME]
    positive.sort(key=lambda u: (-level[u], group.score(group.heads[u]), group.heads[u]))
    return positive[: ceil(fraction * len(group.heads))]


def significance_table(
    circuit: Circuit, pairs: pd.DataFrame, accuracy: Accuracy, options: PruningOptions, n: int | None = None
) -> pd.DataFrame:
    """Whether each head stays, and why.

    score = F(C - K) / F(C - K - v) - 1; infinite where only the denominator is 0. Where both are 0, K is
    empty instead; where they are 0 still, the head stays and is marked undefined (no score). n: as for `is_kept`.
    Columns: group, layer, head, accuracy_without_K, accuracy_without_K_and_head, score, kept, undefined,
    knocked_out ("layer.head ...").
    """
    judged: list[tuple[HeadGroup, HeadIndex, list[HeadIndex]]] = []
    for group in circuit.groups:
        matrix = pair_matrix(group, pairs)
        for v, head in enumerate(group.heads):
            out = knocked_out(group, matrix, v, options.knockout_fraction)
            judged.append((group, head, [group.heads[u] for u in out]))
    before, after = _with_and_without(judged, accuracy)
    again = [i for i in range(len(judged)) if before[i] == 0 and after[i] == 0 and judged[i][2]]
    for i in again:
        judged[i] = (*judged[i][:2], [])
    before[again], after[again] = _with_and_without([judged[i] for i in again], accuracy)
    return pd.DataFrame(
        [_verdict(*judged[i], float(before[i]), float(after[i]), options, n) for i in range(len(judged))],
        columns=SIGNIFICANCE_COLUMNS,
    )


SIGNIFICANCE_COLUMNS = [
    "group", "layer", "head", "accuracy_without_K", "accuracy_without_K_and_head", "score", "kept",
    "undefined", "knocked_out",
]  # fmt: skip


def _with_and_without(
    judged: Sequence[tuple[HeadGroup, HeadIndex, list[HeadIndex]]], accuracy: Accuracy
) -> tuple[np.ndarray, np.ndarray]:
    """F(C - K) and F(C - K - v) of each (group, v, K)."""
    if not judged:
        return np.zeros(0), np.zeros(0)
    removals = [(group.name, tuple(out)) for group, _, out in judged]
    removals += [(group.name, (*out, head)) for group, head, out in judged]
    both = np.array(accuracy(removals), dtype=float)
    return both[: len(judged)], both[len(judged) :]


def _verdict(
    group: HeadGroup,
    head: HeadIndex,
    out: list[HeadIndex],
    before: float,
    after: float,
    options: PruningOptions,
    n: int | None,
) -> tuple[object, ...]:
    undefined = before == 0 and after == 0
    score = np.nan if undefined else np.inf if after == 0 else before / after - 1
    names = " ".join(f"{layer}.{index}" for layer, index in out)
    return group.name, *head, before, after, score, is_kept(before, after, options, n), undefined, names


def is_kept(before: float, after: float, options: PruningOptions, n: int | None = None) -> bool:
    """Whether a head stays, from F(C - K) and F(C - K - v) on n prompts.

    It does when accuracy falls by the threshold and by `least_prompts` prompts: one prompt more or less is no
    evidence, however large a share of a low accuracy it is. Where both are 0 nothing can be said, and it stays. n
    None: of published accuracies, whose prompts are not known, the share alone decides.
    """
    if before == 0 and after == 0:
        return True
    enough = n is None or round((before - after) * n) >= options.least_prompts
    return bool(enough and (after == 0 or before / after - 1 >= options.threshold - SAME))


def keep_significant(circuit: Circuit, significance: pd.DataFrame) -> Circuit:
    """The circuit with the heads that the table keeps."""
    kept = significance[significance["kept"].astype(bool)]
    chosen = set(zip(kept["group"], kept["layer"], kept["head"], strict=True))

    def pruned(group: HeadGroup) -> HeadGroup:
        return group.only(head for head in group.heads if (group.name, *head) in chosen)

    return replace(circuit, groups=tuple(pruned(group) for group in circuit.groups))


def prune_circuit(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    means: Tensor,
    circuit: Circuit,
    options: PruningOptions,
    pairs: pd.DataFrame | None = None,
    partial: Partial = NOTHING,
) -> Pruned:
    """Prune a circuit on the pruning split.

    means: mean head outputs [pos, layer, head, d_head]. pairs: its table of pairs when it is known already
    (from shards); computed otherwise. partial: what a killed job did of it.
    """
    answers = removal_answers(decoder, prompts, means, circuit)
    seen: dict[Removal, np.ndarray] = {}

    def accuracy(removals: Sequence[Removal]) -> np.ndarray:
        found = answers(removals)
        seen.update(zip(removals, found, strict=True))
        return np.asarray(found.mean(1))

    if pairs is None:
        pairs = pair_table(all_pairs(circuit), lambda removals: np.asarray(answers(removals).mean(1)), partial)
    significance = significance_table(circuit, pairs, accuracy, options, len(prompts))
    judged = judged_answers(significance, seen, len(prompts))
    return Pruned(keep_significant(circuit, significance), pairs, significance, judged)


def judged_answers(significance: pd.DataFrame, seen: Mapping[Removal, np.ndarray], n_prompts: int) -> Judged:
    """The answers that a table of heads rests on; seen: of all removals that were run, bool [prompt]."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    columns = (significance[name] for name in ("group", "layer", "head", "knocked_out"))
    for group, layer, head, names in zip(*columns, strict=True):
        pairs = (name.split(".") for name in str(names).split())
        out = [(int(la), int(h)) for la, h in pairs]
        found.append((seen[group, tuple(out)], seen[group, (*out, (layer, head))]))
    both = np.array(found, dtype=bool).reshape(len(found), 2, n_prompts)
    return Judged(both[:, 0], both[:, 1])
