"""How much of a model's accuracy a circuit carries (method, section 6; paper, section 4)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from torch import Tensor

from entity_mech.engine.circuit_batches import Batching, circuit_gives
from entity_mech.methods.circuits import Circuit, mask_of
from entity_mech.methods.intervals import Interval, mean_interval, ratio_interval
from entity_mech.methods.random_sets import random_sets
from entity_mech.models.decoder import Decoder
from entity_mech.progress import log
from entity_mech.task.tokens import TokenizedPrompts

MEASURES = ("accuracy", "faithfulness", "recall", "agreement")
MEASURE_COLUMNS = [name + end for name in MEASURES for end in ("", "_low", "_high")]
COLUMNS = ["model", "circuit", "kind", "draw", "heads", *MEASURE_COLUMNS, "random_below", "n"]
ANSWER_COLUMNS = ["model", "circuit", "kind", "scene", "query_index", "correct", "agrees"]


@dataclass(frozen=True)
class FaithfulnessTables:
    """summary: a row for the model, the circuit, its ceiling and each random circuit.

    answers: a row for each prompt of the circuit and its ceiling, to compare circuits on the same prompts.
    """

    summary: pd.DataFrame
    answers: pd.DataFrame


def random_masks(circuit: Circuit, n_layers: int, n_heads: int, draws: int, seed: int) -> Bool[np.ndarray, "..."]:
    """Random circuits with as many heads at each token as the given one, [draw, role, layer, head].

    Drawn from all heads of the model, the circuit's own among them: what a circuit of this size does by chance. No
    two are the same and none is the circuit; fewer than asked for where there are no more. Groups at one token share
    a draw, so that none of their heads coincide.
    """
    heads = frozenset((group.role, *head) for group in circuit.groups for head in group.heads)
    everywhere = [(layer, head) for layer in range(n_layers) for head in range(n_heads)]
    counts = {role: sum(at == role for at, *_ in heads) for role in circuit.roles}
    sets = random_sets(dict.fromkeys(circuit.roles, everywhere), counts, draws, seed, but=heads)
    if len(sets) < draws:
        log(f"circuit of {circuit.model}: {len(sets)} random circuits, there are no others of its size")
    return mask_of(sets, circuit.roles, n_layers, n_heads)


def measures(
    right: Bool[np.ndarray, " prompt"],
    agrees: Bool[np.ndarray, " prompt"],
    whole: Bool[np.ndarray, " prompt"],
    scene: np.ndarray,
) -> list[float]:
    """Accuracy, faithfulness, recall and agreement of a circuit, each with its interval.

    right, agrees: whether the circuit gives the correct object, and what the model gives. whole: whether the model is
    right. Faithfulness is the circuit's accuracy over the model's: right answers that the model does not give count
    in it. Recall is the share of the model's right answers that the circuit gives too; agreement is the share of
    prompts where both give the same token, right or wrong. The model itself (right is whole) has 1 by definition.
    """
    if right is whole:
        share = 1.0 if whole.any() else np.nan
        return [*mean_interval(right, scene), *(share,) * 6, *(1.0,) * 3]
    found: list[Interval] = [
        mean_interval(right, scene),
        ratio_interval(right, whole, scene),
        mean_interval(right[whole], scene[whole]),
        mean_interval(agrees, scene),
    ]
    return [number for interval in found for number in interval]


def faithfulness(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    means: Tensor,
    circuit: Circuit,
    model_answers: Int[np.ndarray, " prompt"],
    *,
    draws: int = 100,
    seed: int = 0,
) -> FaithfulnessTables:
    """A circuit, of this model or another, in a model: F of the model, the circuit, its ceiling, random ones.

    Args:
        prompts: the evaluation split.
        means: mean head outputs [pos, layer, head, d_head] of this model.
        model_answers: token ids that the intact model gives, from `behaviour`.
        draws: random circuits of the same size.

    The ceiling keeps all heads at the circuit's tokens: a subset may exceed it. Columns of the summary: model,
    circuit (the model it was found in), kind (model, circuit, ceiling or random; see also `with_other_means`), draw
    (of a random circuit), heads, `measures` with intervals, for the circuit how many random ones have a lower
    accuracy, n (prompts).
    """
    size = (decoder.shape.n_layers, decoder.shape.n_heads)
    masks = np.concatenate(
        [
            circuit.to_mask(circuit.roles, *size)[None],
            np.ones((1, len(circuit.roles), *size), dtype=bool),
            random_masks(circuit, *size, draws, seed),
        ]
    )
    targets = np.stack([prompts.answer, model_answers])
    batching = Batching(f"circuit of {circuit.model}")
    right, agrees = circuit_gives(decoder, prompts, means, circuit.roles, masks, targets, batching)
    whole = np.asarray(model_answers == prompts.answer)
    below = int((right[2:].mean(1) < right[0].mean()).sum())

    rows: list[dict[str, object]] = []
    variants = [
        ("model", None, size[0] * size[1], whole, np.ones_like(whole)),
        ("circuit", None, int(masks[0].sum()), right[0], agrees[0]),
        ("ceiling", None, int(masks[1].sum()), right[1], agrees[1]),
        *(("random", i, int(masks[0].sum()), right[i + 2], agrees[i + 2]) for i in range(len(masks) - 2)),
    ]
    for kind, draw, heads, correct, same in variants:
        numbers = dict(zip(MEASURE_COLUMNS, measures(correct, same, whole, prompts.scene), strict=True))
        tested = {"random_below": below} if kind == "circuit" else {}
        rows.append({"kind": kind, "draw": draw, "heads": heads, **numbers, **tested, "n": len(prompts)})
    summary = pd.DataFrame(rows).assign(model=decoder.name, circuit=circuit.model).reindex(columns=COLUMNS)
    answers = pd.concat(
        [_answers(prompts, kind, right[i], agrees[i]) for i, kind in enumerate(("circuit", "ceiling"))]
    )
    return FaithfulnessTables(
        summary.astype({"draw": "Int64", "random_below": "Int64"}),
        answers.assign(model=decoder.name, circuit=circuit.model).reindex(columns=ANSWER_COLUMNS),
    )


def with_other_means(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    means: Tensor,
    circuit: Circuit,
    model_answers: Int[np.ndarray, " prompt"],
    name: str,
) -> pd.DataFrame:
    """The circuit and its ceiling with means that are not the study's: rows as of `faithfulness`.

    name: `position` or `role`. Kinds are circuit_by_{name} and ceiling_by_{name}.
    """
    found = faithfulness(decoder, prompts, means, circuit, model_answers, draws=0).summary
    both = found[found["kind"].isin(["circuit", "ceiling"])]
    return both.assign(kind=both["kind"] + f"_by_{name}", random_below=pd.array([pd.NA] * len(both), dtype="Int64"))


def _answers(prompts: TokenizedPrompts, kind: str, right: np.ndarray, agrees: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "kind": kind,
            "scene": prompts.scene,
            "query_index": prompts.query_index,
            "correct": right.astype(int),
            "agrees": agrees.astype(int),
        }
    )
