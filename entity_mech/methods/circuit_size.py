"""How accuracy grows with the number of heads (method, section 6)."""

import numpy as np
import pandas as pd
from torch import Tensor

from entity_mech.engine.circuit_batches import Batching, circuit_gives
from entity_mech.methods.candidates import knee
from entity_mech.methods.faithfulness import MEASURE_COLUMNS, measures
from entity_mech.models.decoder import Decoder
from entity_mech.task.roles import own_name
from entity_mech.task.tokens import TokenizedPrompts

CURVE_COLUMNS = ["model", "k", "heads", "share", *MEASURE_COLUMNS, "n"]
SUMMARY_COLUMNS = ["model", "area", "distance", "knee_k", "knee_heads", "ceiling", "n"]


def sizes(most: int) -> list[int]:
    """0, 1, 2, 3, 4, 6, 8, 11, 16, ...: numbers of heads a search, in steps of a square root of 2, up to all."""
    grown = {round(2 ** (i / 2)) for i in range(64) if round(2 ** (i / 2)) < most}
    return sorted({0, most, *grown})


def nested_masks(scores: pd.DataFrame, ks: list[int], n_layers: int, n_heads: int) -> tuple[list[str], np.ndarray]:
    """Roles, and the circuits of each search's k heads with the lowest scores, bool [k, role, layer, head].

    Positive scores come last, so that the largest circuit has every head at the roles: the ceiling.
    """
    named = [own_name(token) for token in scores["token"]]
    roles = list(dict.fromkeys(named))
    masks = np.zeros((len(ks), len(roles), n_layers, n_heads), dtype=bool)
    for _, table in scores.groupby("search", sort=False):
        token = str(table["token"].iloc[0])
        role = roles.index(own_name(token))
        ordered = table.sort_values(["score", "layer", "head"])
        layer, head = ordered["layer"].to_numpy(), ordered["head"].to_numpy()
        for mask, k in zip(masks, ks, strict=True):
            mask[role, layer[:k], head[:k]] = True
    return roles, masks


def circuit_size(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    means: Tensor,
    scores: pd.DataFrame,
    model_answers: np.ndarray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy of nested circuits: of every search the k heads with the lowest scores.

    Args:
        prompts: the evaluation split; means: [pos, layer, head, d_head] of this model.
        scores: this model's path-patching table, every head of every search.
        model_answers: token ids that the intact model gives [prompt], from `behaviour`.

    Returns the curve (model, k, heads, share of all heads at the roles, `measures` of faithfulness with
    intervals, n) and its summary (model, area under faithfulness by share, distance: area between it and 1,
    knee_k: the smallest k with 95% of the accuracy at the largest, knee_heads, ceiling: faithfulness of all
    heads at the roles, n).
    """
    shape = decoder.shape
    ks = sizes(shape.n_layers * shape.n_heads)
    roles, masks = nested_masks(scores, ks, shape.n_layers, shape.n_heads)
    targets = np.stack([prompts.answer, model_answers])
    right, agrees = circuit_gives(decoder, prompts, means, roles, masks, targets, Batching("circuits by size"))
    whole = np.asarray(model_answers == prompts.answer)
    rows = []
    for k, mask, correct, same in zip(ks, masks, right, agrees, strict=True):
        numbers = measures(correct, same, whole, prompts.scene)
        rows.append((decoder.name, k, int(mask.sum()), float(mask.mean()), *numbers, len(prompts)))
    curve = pd.DataFrame(rows, columns=CURVE_COLUMNS)
    return curve, size_summary(curve)


def size_summary(curve: pd.DataFrame) -> pd.DataFrame:
    """One row about a curve of `circuit_size`."""
    share, faithfulness = curve["share"].to_numpy(), curve["faithfulness"].to_numpy()
    at = knee(curve["accuracy"].to_numpy())
    row = (
        curve["model"].iloc[0],
        float(np.trapezoid(faithfulness, share)),
        float(np.trapezoid(np.abs(1 - faithfulness), share)),
        int(curve["k"].iloc[at]),
        int(curve["heads"].iloc[at]),
        float(faithfulness[-1]),
        int(curve["n"].iloc[0]),
    )
    return pd.DataFrame([row], columns=SUMMARY_COLUMNS)
