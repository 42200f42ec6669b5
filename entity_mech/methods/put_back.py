"""Heads that come back where pruning broke a circuit, and what pruning did to its accuracy (method, section 5).

Minimality judges each head beside the whole circuit, with few others removed. Where three heads do the same work, or
many do a little each, every one is superfluous by itself, and all of them go. So the pruned circuit is held against
its candidates, and heads come back until it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from torch import Tensor

from entity_mech.methods.circuits import Circuit, HeadIndex
from entity_mech.methods.head_ablation import correct_without
from entity_mech.methods.intervals import ratio_interval
from entity_mech.methods.pruning import CircuitAnswers, Judged, Pruned, PruningOptions, circuit_answers
from entity_mech.models.decoder import Decoder
from entity_mech.task.tokens import TokenizedPrompts

Placed = tuple[str, HeadIndex]  # (group, head)
ENDS = ("", "_low", "_high")
SUMMARY_COLUMNS = [
    *("model", "candidates", "minimal", "put_back", "kept", "names"),
    *(f"faithfulness_{name}{end}" for name in ("before", "minimal", "after") for end in ENDS),
    *("accuracy_before", "n", "threshold", "least_prompts", "restore_below"),
]


@dataclass(frozen=True)
class Returned:
    """A head that came back. with_it, without: which prompts are answered correctly, bool [prompt].

    stands_in_for: a head that came back because the circuit does not hold without it, and whose work this one does
    as well; None for such a head itself.
    """

    group: str
    head: HeadIndex
    with_it: np.ndarray
    without: np.ndarray
    stands_in_for: HeadIndex | None = None

    @property
    def placed(self) -> Placed:
        """Its group and itself."""
        return self.group, self.head


@dataclass(frozen=True)
class Restored:
    """A circuit that holds. before, minimal, after: right answers of the candidates, of what minimality kept, and of
    the circuit, bool [prompt]."""

    circuit: Circuit
    returned: tuple[Returned, ...]
    before: np.ndarray
    minimal: np.ndarray
    after: np.ndarray


def placed(circuit: Circuit) -> list[Placed]:
    """All heads of a circuit with their groups, group by group."""
    return [(group.name, head) for group in circuit.groups for head in group.heads]


def only(circuit: Circuit, heads: Collection[Placed]) -> Circuit:
    """The circuit with some of its heads."""
    wanted = set(heads)
    groups = (g.only(head for head in g.heads if (g.name, head) in wanted) for g in circuit.groups)
    return replace(circuit, groups=tuple(groups))


def by_score(candidates: Circuit, heads: Collection[Placed]) -> list[Placed]:
    """Heads in the order of their scores, each as a share of the strongest of its group: searches have own scales.

    Ties: the order of the groups, then of their heads.
    """
    share: dict[Placed, float] = {}
    for group in candidates.groups:
        strongest = min((group.score(head) for head in group.heads), default=0.0)
        share |= {(group.name, head): group.score(head) / strongest if strongest else 0.0 for head in group.heads}
    return sorted((one for one in placed(candidates) if one in set(heads)), key=lambda one: -share[one])


def restore(candidates: Circuit, pruned: Circuit, answers: CircuitAnswers, options: PruningOptions) -> Restored:
    """Put heads back until the circuit answers `restore_below` of what its candidates answer, if pruning broke it.

    The fewest that do, in the order of their scores; then those that do the work as well of one without which alone
    the circuit would break.
    """
    before, minimal = answers([candidates, pruned])

    def holds(right: np.ndarray) -> bool:
        lost = int(before.sum()) - int(right.sum())
        return lost < options.least_prompts or bool(right.sum() >= options.restore_below * before.sum())

    if holds(minimal):
        return Restored(pruned, (), before, minimal, minimal)
    gone = by_score(candidates, set(placed(candidates)) - set(placed(pruned)))

    def run(sets: Sequence[Collection[Placed]]) -> np.ndarray:
        return answers([only(candidates, {*placed(pruned), *heads}) for heads in sets])

    needed = fewest(gone, run, holds)
    broken = (1 - options.restore_below) * before.sum()
    returned = stand_ins(needed, [head for head in gone if head not in needed], run, (broken, options.restore_below))
    circuit = only(candidates, {*placed(pruned), *(one.placed for one in returned)})
    return Restored(circuit, tuple(returned), before, minimal, answers([circuit])[0])


def fewest(
    gone: Sequence[Placed],
    run: Callable[[Sequence[Collection[Placed]]], np.ndarray],
    holds: Callable[[np.ndarray], bool],
) -> list[Placed]:
    """Heads, of those gone, with which the circuit holds and without any of which it does not.

    gone: in the order in which they come back; all of them together hold. run: right answers of the pruned circuit
    with these heads, for several sets of them. As many come back as it takes, and then those go again that it does
    not take, the weakest first.
    """
    growing = run([gone[: k + 1] for k in range(len(gone))])
    kept = list(gone[: 1 + next(k for k, right in enumerate(growing) if holds(right))])
    for head in kept[-2::-1]:
        without = [one for one in kept if one != head]
        if holds(run([without])[0]):
            kept = without
    return kept


def stand_ins(
    needed: Sequence[Placed],
    gone: Sequence[Placed],
    run: Callable[[Sequence[Collection[Placed]]], np.ndarray],
    limits: tuple[float, float],
) -> list[Returned]:
    """The heads needed, and those gone that do the work of one of them as well: which came back first was chance.

    limits: how many prompts a head must cost by itself for others to stand in for it, and which share of that another
    head of its group must make good.
    """
    least, share = limits
    core, *less = run([needed, *([one for one in needed if one != head] for head in needed)])
    found = {head: Returned(*head, core, without) for head, without in zip(needed, less, strict=True)}
    vital = [one for one in found.values() if core.sum() - one.without.sum() > least]
    tries = [(one, other) for one in vital for other in gone if other[0] == one.group]
    if tries:
        swapped = run([[*(head for head in needed if head != one.placed), other] for one, other in tries])
        for (one, other), right in zip(tries, swapped, strict=True):
            cost, gained = (int(answers.sum()) - int(one.without.sum()) for answers in (core, right))
            if other not in found and gained >= share * cost:
                found[other] = Returned(*other, right, one.without, one.head)
    return list(found.values())


def with_returned(pruned: Pruned, restored: Restored) -> tuple[pd.DataFrame, Judged]:
    """The table of heads with a column `put_back`, and the answers that it rests on, when heads came back.

    A head that came back is kept, and what it rests on is the circuit with it and without it.
    """
    back = {one.placed: one for one in restored.returned}
    table, before, after = pruned.significance.copy(), pruned.judged.before.copy(), pruned.judged.after.copy()
    named = table[["group", "layer", "head"]].itertuples(index=False)
    heads = [(group, (layer, head)) for group, layer, head in named]
    for row, head in enumerate(heads):
        if head in back:
            before[row], after[row] = back[head].with_it, back[head].without
    table["put_back"] = [head in back for head in heads]
    table["kept"] |= table["put_back"]
    return table, Judged(before, after)


def pruning_summary(
    candidates: Circuit,
    restored: Restored,
    whole: np.ndarray,
    scene: np.ndarray,
    options: PruningOptions,
) -> pd.DataFrame:
    """One row: how many heads are candidates, kept by minimality, put back and kept in the end, and what they carry.

    whole: which prompts the model answers correctly [prompt]. names: the heads put back, in words. faithfulness of
    the candidates (before), of what minimality kept, and of the circuit (after), each with its interval;
    accuracy_before: of the candidates; n: prompts.
    """
    letters = {group.name: group.letter for group in candidates.groups}
    names = [f"{letters[one.group]} {_name(one.head)}{_reason(one)}" for one in restored.returned]
    counts = {"candidates": candidates.size, "put_back": len(names), "kept": restored.circuit.size}
    row: dict[str, object] = {"model": candidates.model, **counts, "names": "; ".join(names)}
    row["minimal"] = restored.circuit.size - len(names)
    for name, right in (("before", restored.before), ("minimal", restored.minimal), ("after", restored.after)):
        found = ratio_interval(right, whole, scene)
        row |= {f"faithfulness_{name}{end}": value for end, value in zip(ENDS, found, strict=True)}
    row |= {"accuracy_before": restored.before.mean(), "n": len(whole), **asdict(options)}
    return pd.DataFrame([row])[SUMMARY_COLUMNS]


def put_back_json(returned: Sequence[Returned]) -> list[dict[str, object]]:
    """Heads that came back as plain data, for the circuit's file."""
    return [
        {
            "group": one.group,
            "layer": one.head[0],
            "head": one.head[1],
            "does_the_work_of": None if one.stands_in_for is None else list(one.stands_in_for),
        }
        for one in returned
    ]


def _name(head: HeadIndex) -> str:
    return f"{head[0]}.{head[1]}"


def _reason(one: Returned) -> str:
    return "" if one.stands_in_for is None else f" (does the work of {_name(one.stands_in_for)})"


@dataclass(frozen=True)
class Holding:
    """A pruned circuit that holds, its table of heads and the answers it rests on, and the row about its pruning."""

    circuit: Circuit
    significance: pd.DataFrame
    judged: Judged
    summary: pd.DataFrame
    returned: tuple[Returned, ...]


def put_back(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    means: Tensor,
    candidates: Circuit,
    pruned: Pruned,
    options: PruningOptions,
) -> Holding:
    """Put heads back where pruning broke a circuit; prompts and means as for `prune_circuit`."""
    answers = circuit_answers(decoder, prompts, means, "what pruning left")
    restored = restore(candidates, pruned.circuit, answers, options)
    whole = correct_without(decoder, prompts, means, [()], label="intact model")[0]
    table = pruning_summary(candidates, restored, whole, prompts.scene, options)
    return Holding(restored.circuit, *with_returned(pruned, restored), table, restored.returned)
