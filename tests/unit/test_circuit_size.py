"""Accuracy by circuit size."""

import numpy as np
import pandas as pd
import pytest

from entity_mech.methods.circuit_size import CURVE_COLUMNS, circuit_size, nested_masks, size_summary, sizes
from tests.helpers.box_prompts import box_prompts
from tests.helpers.literal_circuits import head_outputs, last_logits, literal_circuit
from tests.helpers.random_models import decoder_from, random_llama


def scores():
    rng = np.random.default_rng(5)
    rows = [
        (search, token, layer, head, rng.normal())
        for search, token in (("g", "last"), ("b", "last"), ("h", "previous_label"))
        for layer in range(3)
        for head in range(4)
    ]
    return pd.DataFrame(rows, columns=["search", "token", "layer", "head", "score"])


def test_sizes_grow_to_all():
    assert sizes(12) == [0, 1, 2, 3, 4, 6, 8, 11, 12]
    assert sizes(1) == [0, 1]


def test_circuits_are_nested_and_end_with_all_heads():
    table = scores()
    roles, masks = nested_masks(table, [0, 1, 2, 12], 3, 4)
    assert roles == ["last", "label"]
    assert not masks[0].any()
    assert masks[3].all()
    assert (masks[1] <= masks[2]).all()
    best = table.sort_values("score").groupby("search").first()
    assert masks[1][1].sum() == 1
    assert masks[1][1, best.loc["h", "layer"], best.loc["h", "head"]]
    for search in ("g", "b"):
        assert masks[1][0, best.loc[search, "layer"], best.loc[search, "head"]]


def test_curve_equals_hooked_runs():
    model = random_llama(kv_heads=2, spread=0.4)
    prompts = box_prompts(3, 12)
    means = head_outputs(model, box_prompts(4, 8).ids).mean(0)
    roles, masks = nested_masks(scores(), sizes(12), 3, 4)
    positions = np.stack([prompts.roles[role] for role in roles], 1)
    rest = [(prompts.ids, prompts.length, positions, mask, means) for mask in masks]
    best = np.stack([literal_circuit(model, *arguments).argmax(-1).numpy() for arguments in rest])
    answer = best[np.arange(12) % len(masks), np.arange(12)]
    whole = last_logits(model, prompts.ids, prompts.length).argmax(-1).numpy()
    answer[:3] = whole[:3]
    object.__setattr__(prompts, "answer", answer)
    curve, total = circuit_size(decoder_from(model), prompts, means, scores(), whole)
    assert list(curve.columns) == CURVE_COLUMNS
    assert curve["k"].tolist() == sizes(12)
    assert curve["heads"].tolist() == [int(mask.sum()) for mask in masks]
    np.testing.assert_allclose(curve["accuracy"], (best == answer).mean(1))
    assert curve["accuracy"].between(0, 1, inclusive="neither").any()
    assert curve["accuracy"].nunique() > 2
    np.testing.assert_allclose(curve["faithfulness"], (best == answer).mean(1) / (whole == answer).mean())
    np.testing.assert_allclose(curve["agreement"], (best == whole).mean(1))
    np.testing.assert_allclose(curve["recall"], (best == answer)[:, whole == answer].mean(1))
    assert total["ceiling"].iloc[0] == curve["faithfulness"].iloc[-1]


def test_area_distance_and_knee():
    curve = pd.DataFrame(
        {
            "model": "m",
            "k": [0, 1, 2, 4],
            "heads": [0, 2, 4, 8],
            "share": [0, 0.25, 0.5, 1],
            "accuracy": [0, 0.4, 0.48, 0.5],
            "faithfulness": [0, 1.6, 1.2, 1],
            "n": 10,
        }
    )
    row = size_summary(curve).iloc[0]
    assert row["area"] == pytest.approx(0.2 + 0.35 + 0.55)
    assert row["distance"] == pytest.approx(0.125 * (1 + 0.6) + 0.125 * (0.6 + 0.2) + 0.25 * 0.2)
    assert (row["knee_k"], row["knee_heads"]) == (2, 4)
