"""Faithfulness, its ceiling and its random circuits."""

import numpy as np
import pytest

from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.faithfulness import ANSWER_COLUMNS, COLUMNS, faithfulness, measures, random_masks
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


EVERYWHERE = tuple((layer, head) for layer in range(3) for head in range(4))


def test_random_circuits_match_in_size_at_every_token():
    masks = random_masks(CIRCUIT, 3, 4, 40, 7)
    assert masks.shape == (40, 2, 3, 4)
    assert (masks.sum((2, 3)) == [5, 2]).all()
    assert len({mask.tobytes() for mask in masks}) == 40
    assert (masks & CIRCUIT.to_mask(CIRCUIT.roles, 3, 4)).any()  # by chance some of its own heads are among them
    np.testing.assert_array_equal(random_masks(CIRCUIT, 3, 4, 9, 7), masks[:9])  # however many follow
    assert (random_masks(CIRCUIT, 3, 4, 9, 8) != masks[:9]).any()


def test_random_circuits_end_where_there_are_no_others():
    one = Circuit("m", (HeadGroup("g", "A", "last", ((1, 2),)),))
    masks = random_masks(one, 3, 4, 100, 0)
    assert len(masks) == 11  # twelve heads, and not the circuit itself
    assert (masks.sum(0)[0] == (1 - one.to_mask(("last",), 3, 4)[0])).all()
    assert not len(random_masks(Circuit("m", (HeadGroup("g", "A", "last", EVERYWHERE),)), 3, 4, 5, 0))
    assert not len(random_masks(Circuit("m", (HeadGroup("g", "A", "last", ()),)), 3, 4, 5, 0))


def test_measures_by_hand():
    whole = np.array([1, 1, 1, 1, 0, 0, 0, 0], dtype=bool)
    right = np.array([1, 1, 1, 0, 1, 1, 0, 0], dtype=bool)  # keeps 3 of the model's 4, and finds 2 of its own
    agrees = np.array([1, 1, 1, 0, 0, 0, 1, 0], dtype=bool)  # once it is wrong as the model is
    found = measures(right, agrees, whole, np.arange(8))
    assert found[::3] == pytest.approx([5 / 8, 5 / 4, 3 / 4, 4 / 8])
    for low, high, value in zip(found[1::3], found[2::3], found[::3], strict=True):
        assert low < value < high
    nothing = measures(right, agrees, np.zeros(8, dtype=bool), np.arange(8))
    assert np.isnan(nothing[3:9]).all()


@pytest.fixture(scope="module")
def table():
    model = random_llama(kv_heads=2, spread=0.4)
    decoder = decoder_from(model)
    prompts = box_prompts(3, 20)
    means = head_outputs(model, box_prompts(4, 8).ids).mean(0)
    roles = np.stack([prompts.roles["last"], prompts.roles["label"]], 1)
    whole = last_logits(model, prompts.ids, prompts.length).argmax(-1).numpy()
    # Random weights never give the right object: a third keeps the dataset's answers, the others get the model's own.
    answer = np.where(np.arange(20) % 3, whole, prompts.answer)
    object.__setattr__(prompts, "answer", answer)
    found = faithfulness(decoder, prompts, means, CIRCUIT, whole, draws=3, seed=7)
    masks = [CIRCUIT.to_mask(CIRCUIT.roles, 3, 4), np.ones((2, 3, 4), bool), *random_masks(CIRCUIT, 3, 4, 3, 7)]
    literal = [literal_circuit(model, prompts.ids, prompts.length, roles, mask, means).argmax(-1) for mask in masks]
    return found, np.stack([whole, *(each.numpy() for each in literal)]), answer, prompts


def test_rows_are_the_model_the_circuit_the_ceiling_and_random_circuits(table):
    found, given, answer, _ = table
    rows, right, whole = found.summary, given == answer, given[0] == answer
    assert list(rows.columns) == COLUMNS
    assert rows["kind"].tolist() == ["model", "circuit", "ceiling", "random", "random", "random"]
    assert rows["draw"].astype(object).where(rows["draw"].notna(), None).tolist() == [None] * 3 + [0, 1, 2]
    assert rows["heads"].tolist() == [12, 7, 24, 7, 7, 7]
    assert set(rows["circuit"]) == {"other"}
    np.testing.assert_allclose(rows["accuracy"], right.mean(1))
    np.testing.assert_allclose(rows["faithfulness"], right.mean(1) / whole.mean())
    np.testing.assert_allclose(rows["recall"], right[:, whole].mean(1))
    np.testing.assert_allclose(rows["agreement"], (given == given[0]).mean(1))
    assert right[1:].mean(1).max() > 0
    assert rows["agreement"].nunique() > 2


def test_the_circuit_is_held_against_the_random_ones(table):
    found, given, answer, _ = table
    accuracy = (given == answer).mean(1)
    below = int((accuracy[3:] < accuracy[1]).sum())
    assert found.summary["random_below"].dropna().tolist() == [below]


def test_answers_are_kept_prompt_by_prompt(table):
    found, given, answer, prompts = table
    assert list(found.answers.columns) == ANSWER_COLUMNS
    for at, kind in enumerate(("circuit", "ceiling"), 1):
        rows = found.answers[found.answers["kind"] == kind]
        assert rows["scene"].tolist() == prompts.scene.tolist()
        assert rows["query_index"].tolist() == prompts.query_index.tolist()
        assert rows["correct"].tolist() == (given[at] == answer).astype(int).tolist()
        assert rows["agrees"].tolist() == (given[at] == given[0]).astype(int).tolist()


def test_the_model_is_faithful_to_itself(table):
    row = table[0].summary.iloc[0]
    assert row["faithfulness"] == row["recall"] == row["agreement"] == 1
    assert (row[["faithfulness_low", "faithfulness_high", "recall_low", "agreement_high"]] == 1).all()
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
