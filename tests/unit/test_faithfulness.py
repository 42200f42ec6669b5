"""Faithfulness, its ceiling and its random circuits."""

import numpy as np
import pytest

from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.faithfulness import COLUMNS, faithfulness, random_mask
from tests.helpers.box_prompts import box_prompts
from tests.helpers.literal_circuits import head_outputs, last_logits, literal_circuit
from tests.helpers.random_models import decoder_from, random_llama

CIRCUIT = Circuit(
    "other",
    (
        HeadGroup("g", "A", "last", ((2, 0), (1, 1), (1, 3))),
        HeadGroup("b", "B", "last", ((0, 1), (2, 3))),
        HeadGroup("h", "D", "label", ((0, 2), (1, 2))),
    ),
)


def test_random_circuits_match_in_size_at_every_token():
    for draw in range(20):
        mask = random_mask(CIRCUIT, 3, 4, 7, draw)
        assert mask.sum((1, 2)).tolist() == [5, 2]
    assert (random_mask(CIRCUIT, 3, 4, 7, 3) == random_mask(CIRCUIT, 3, 4, 7, 3)).all()
    assert (random_mask(CIRCUIT, 3, 4, 7, 3) != random_mask(CIRCUIT, 3, 4, 7, 4)).any()
    assert (random_mask(CIRCUIT, 3, 4, 7, 3) != random_mask(CIRCUIT, 3, 4, 8, 3)).any()
    everything = Circuit("m", (HeadGroup("g", "A", "last", tuple((la, h) for la in range(3) for h in range(4))),))
    assert random_mask(everything, 3, 4, 0, 0).all()


@pytest.fixture(scope="module")
def table():
    model = random_llama(kv_heads=2, spread=0.4)
    decoder = decoder_from(model)
    prompts = box_prompts(3, 20)
    means = head_outputs(model, box_prompts(4, 8).ids).mean(0)
    roles = np.stack([prompts.roles["last"], prompts.roles["label"]], 1)
    whole = last_logits(model, prompts.ids, prompts.length).argmax(-1).numpy()
    # Random weights never give the right object: half of the answers are what the model says itself.
    answer = np.where(np.arange(20) % 3, whole, prompts.answer)
    object.__setattr__(prompts, "answer", answer)

    def literal(mask):
        return literal_circuit(model, prompts.ids, prompts.length, roles, mask, means).argmax(-1).numpy() == answer

    found = faithfulness(decoder, prompts, means, CIRCUIT, whole == answer, draws=3, seed=7)
    masks = [CIRCUIT.to_mask(CIRCUIT.roles, 3, 4), np.ones((2, 3, 4), bool)]
    masks += [random_mask(CIRCUIT, 3, 4, 7, draw) for draw in range(3)]
    return found, [(whole == answer).mean(), *(literal(mask).mean() for mask in masks)]


def test_rows_are_the_model_the_circuit_the_ceiling_and_random_circuits(table):
    found, expected = table
    assert list(found.columns) == COLUMNS
    assert found["kind"].tolist() == ["model", "circuit", "ceiling", "random", "random", "random"]
    assert found["draw"].astype(object).where(found["draw"].notna(), None).tolist() == [None] * 3 + [0, 1, 2]
    assert found["heads"].tolist() == [12, 7, 24, 7, 7, 7]
    assert set(found["circuit"]) == {"other"}
    np.testing.assert_allclose(found["accuracy"], expected)
    np.testing.assert_allclose(found["faithfulness"], np.array(expected) / expected[0])
    assert max(expected[1:]) > 0


def test_the_model_is_faithful_to_itself(table):
    row = table[0].iloc[0]
    assert (row["faithfulness"], row["faithfulness_low"], row["faithfulness_high"]) == (1, 1, 1)
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
