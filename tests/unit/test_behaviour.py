"""Behaviour of the intact model."""

import numpy as np
import pandas as pd
import pytest
import torch

from entity_mech.methods.behaviour import behaviour, behaviour_summary
from tests.helpers.box_prompts import box_prompts
from tests.helpers.literal_circuits import last_logits
from tests.helpers.random_models import decoder_from, random_llama


def test_equals_the_models_own_logits_whatever_the_batch():
    model = random_llama(kv_heads=2, spread=0.4)
    decoder = decoder_from(model)
    prompts = box_prompts(3, 21, ragged=True)
    logits = last_logits(model, prompts.ids, prompts.length)
    best = logits.argmax(-1).numpy()
    object.__setattr__(prompts, "answer", np.where(np.arange(21) % 3, prompts.answer, best))
    object.__setattr__(prompts, "choices", np.column_stack([prompts.answer, prompts.choices]))
    table = behaviour(decoder, prompts)
    answer = torch.as_tensor(prompts.answer)
    named = logits.gather(1, torch.as_tensor(prompts.choices)).amax(-1)
    assert table["correct"].tolist() == (best == prompts.answer).astype(int).tolist()
    assert 0 < table["correct"].mean() < 1
    assert table["predicted"].tolist() == best.tolist()
    own = logits[torch.arange(21), answer]
    np.testing.assert_allclose(table["probability"], logits.softmax(-1)[torch.arange(21), answer], rtol=1e-4)
    assert table["correct_named"].tolist() == (own == named).int().tolist()
    pd.testing.assert_frame_equal(behaviour(decoder, prompts, batch_size=4), table, rtol=1e-5)


def test_summary_by_metric_and_index():
    table = pd.DataFrame(
        {
            "prompt": range(6),
            "scene": [0, 0, 1, 1, 2, 2],
            "query_index": [0, 1, 0, 1, 0, 1],
            "correct": [1, 0, 1, 0, 1, 1],
            "probability": [0.5, 0.1, 0.5, 0.1, 0.5, 0.7],
            "correct_named": [1, 1, 1, 1, 1, 1],
        }
    )
    found = behaviour_summary("m", table).set_index("metric")
    assert found["value"].to_dict() == pytest.approx(
        {
            "accuracy": 4 / 6,
            "probability": 0.4,
            "named_accuracy": 1,
            "accuracy_at_index_0": 1,
            "accuracy_at_index_1": 1 / 3,
        }
    )
    assert found.loc["accuracy", "n"] == 6
    assert found.loc["accuracy_at_index_1", "n"] == 3
    assert (found["low"] <= found["value"]).all()
    assert (found["value"] <= found["high"]).all()
