"""Minimality: rules worked out by hand on made-up accuracies, and real removals against single runs."""

import numpy as np
import pandas as pd
import pytest

from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.pruning import (
    PruningOptions,
    all_pairs,
    keep_significant,
    pair_table,
    prune_circuit,
    removal_accuracy,
    significance_table,
)
from tests.helpers.box_prompts import box_prompts
from tests.helpers.literal_circuits import head_outputs, literal_circuit
from tests.helpers.random_models import decoder_from, random_llama

A, B, C, D = (0, 0), (1, 0), (2, 0), (3, 0)


def circuit_of(*heads, scores=()):
    return Circuit("m", (HeadGroup("g", "A", "last", heads, scores),))


def made_up(table, default=0.9):
    """F of the circuit without a set of heads, from a dictionary; asked removals are recorded."""
    asked = []

    def accuracy(removals):
        asked.extend(frozenset(heads) for _, heads in removals)
        return np.array([table.get(frozenset(heads), default) for _, heads in removals])

    return accuracy, asked


def judge(circuit, accuracy, **options):
    pairs = pair_table(all_pairs(circuit), accuracy)
    table = significance_table(circuit, pairs, accuracy, PruningOptions(**options))
    return table.set_index(["layer", "head"])


def removed(*heads):
    return frozenset(heads)


def test_all_pairs_once_with_the_single_heads():
    two = Circuit("m", (HeadGroup("g", "A", "last", (A, B, C)), HeadGroup("h", "B", "last", (D,))))
    pairs = all_pairs(two)
    assert len(pairs) == 3 + 3 + 1
    assert ("g", A, A) in pairs
    assert ("g", A, C) in pairs
    assert ("h", D, D) in pairs
    assert not any(u == D for name, u, v in pairs if name == "g")


def test_backup_heads_are_removed_first():
    # B and C do the same work: without one of them nothing happens, without both much does.
    accuracy, _ = made_up({removed(B, C): 0.5, removed(A, B): 0.88})
    table = judge(circuit_of(A, B, C, D), accuracy, knockout_fraction=0.25)  # K has one head at most
    row = table.loc[B]
    assert row["knocked_out"] == "2.0"  # drop for u = C: .9 - .5; for u = A: .9 - .88
    assert row["accuracy_without_K"] == 0.9
    assert row["accuracy_without_K_and_head"] == 0.5
    assert row["score"] == pytest.approx(0.8)
    assert row["kept"]
    # D has no drop with anyone, so K is empty and it is judged alone
    assert table.loc[D]["knocked_out"] == ""
    assert table.loc[D]["score"] == 0
    assert not table.loc[D]["kept"]


def test_size_of_k_is_rounded_up_and_only_positive_drops_count():
    accuracy, asked = made_up({removed(A, D): 0.7, removed(B, D): 0.8, removed(C, D): 0.95})
    table = judge(circuit_of(A, B, C, D), accuracy, knockout_fraction=0.3)  # ceil(1.2) = 2
    assert table.loc[D]["knocked_out"] == "0.0 1.0"
    assert removed(A, B, D) in asked
    table = judge(circuit_of(A, B, C, D), accuracy, knockout_fraction=1.0)
    assert table.loc[D]["knocked_out"] == "0.0 1.0"  # C's drop is negative


def test_ties_go_to_the_stronger_score_then_to_layer_and_head():
    # equal drops, up to the rounding of shares of prompts: .9 - .6 and .8 - .5
    table = {removed(A): 0.8, removed(A, D): 0.5, removed(B, D): 0.6, removed(C, D): 0.6}
    accuracy, _ = made_up(table)
    scored = circuit_of(A, B, C, D, scores=(-0.1, -0.2, -0.3, -0.4))
    assert judge(scored, accuracy, knockout_fraction=0.5).loc[D]["knocked_out"] == "2.0 1.0"
    assert judge(circuit_of(C, B, A, D), accuracy, knockout_fraction=0.5).loc[D]["knocked_out"] == "0.0 1.0"


def test_zero_accuracies():
    table = {
        removed(A): 0.0,  # K of A is empty: only F(C - K - v) is 0
        removed(B, C): 0.0,
        removed(C): 0.0,
    }
    accuracy, _ = made_up(table)
    row = judge(circuit_of(A), accuracy).loc[A]
    assert row["kept"]
    assert np.isinf(row["score"])
    assert not row["undefined"]
    # K of C is {B}: F(C - B) > 0 = F(C - B - C): kept
    row = judge(circuit_of(B, C), made_up({removed(B, C): 0.0})[0]).loc[C]
    assert row["knocked_out"] == "1.0"
    assert row["kept"]
    assert np.isinf(row["score"])


def test_both_zero_is_done_again_with_nothing_removed():
    # K of C is {A, B}, without which nothing works; alone, C's removal costs .9 -> .6
    table = {
        removed(A, B): 0.0,
        removed(A, B, C): 0.0,
        removed(C): 0.6,
        removed(A, C): 0.1,
        removed(B, C): 0.1,
        removed(): 0.9,
    }
    accuracy, asked = made_up(table)
    row = judge(circuit_of(A, B, C), accuracy, knockout_fraction=0.5).loc[C]
    assert removed(A, B, C) in asked
    assert row["knocked_out"] == ""
    assert row["score"] == pytest.approx(0.5)
    assert row["kept"]
    assert not row["undefined"]


def test_still_zero_is_kept_and_marked():
    accuracy, _ = made_up({}, default=0.0)
    table = judge(circuit_of(A, B), accuracy)
    assert table["kept"].all()
    assert table["undefined"].all()
    assert table["score"].isna().all()


def test_threshold_is_met_by_equality():
    counts = {removed(): 101 / 280, removed(A): 100 / 280}
    accuracy, _ = made_up(counts)
    assert judge(circuit_of(A), accuracy, threshold=0.01).loc[A]["kept"]
    assert not judge(circuit_of(A), accuracy, threshold=0.0101).loc[A]["kept"]


def test_whole_circuit_stays_the_reference_and_heads_are_kept_by_group():
    # the same head in two groups (at two roles): only one of them matters
    groups = (HeadGroup("g", "A", "last", (A, B)), HeadGroup("h", "D", "label", (A,), (-0.5,)))
    circuit = Circuit("m", groups)

    def accuracy(removals):
        return np.array([0.5 if group == "h" and A in heads else 0.9 for group, heads in removals])

    pairs = pair_table(all_pairs(circuit), accuracy)
    table = significance_table(circuit, pairs, accuracy, PruningOptions())
    pruned = keep_significant(circuit, table)
    assert [group.heads for group in pruned.groups] == [(), (A,)]
    assert pruned.groups[1].scores == (-0.5,)


def test_missing_pairs_are_noticed():
    circuit = circuit_of(A, B, C)
    accuracy, _ = made_up({})
    with pytest.raises(ValueError, match="not complete"):
        significance_table(circuit, pair_table(all_pairs(circuit)[:-1], accuracy), accuracy, PruningOptions())


@pytest.fixture(scope="module")
def small():
    model = random_llama(kv_heads=2, spread=0.4)
    decoder = decoder_from(model)
    prompts = box_prompts(3, 12)
    means = head_outputs(model, box_prompts(4, 8).ids).mean(0)
    groups = (HeadGroup("g", "A", "last", ((2, 0), (1, 1), (1, 3))), HeadGroup("h", "D", "label", ((0, 2), (1, 2))))
    circuit = Circuit("m", groups)
    roles = np.stack([prompts.roles["last"], prompts.roles["label"]], 1)

    def literal(mask):
        return literal_circuit(model, prompts.ids, prompts.length, roles, mask, means).argmax(-1).numpy()

    whole = circuit.to_mask(circuit.roles, 3, 4)
    # Answers of the whole circuit: random weights never give the right object.
    object.__setattr__(prompts, "answer", literal(whole))
    return decoder, prompts, means, circuit, whole, literal


def test_removals_equal_hooked_runs(small):
    decoder, prompts, means, circuit, whole, literal = small
    removals = [("g", ((2, 0),)), ("g", ((2, 0), (1, 3))), ("h", ((0, 2),)), ("h", ())]
    expected = []
    for group, heads in removals:
        mask = whole.copy()
        for layer, head in heads:
            mask[0 if group == "g" else 1, layer, head] = False
        expected.append((literal(mask) == prompts.answer).mean())
    assert expected[-1] == 1
    assert len(set(expected)) > 2
    np.testing.assert_allclose(removal_accuracy(decoder, prompts, means, circuit)(removals), expected)


def test_the_answers_that_heads_are_judged_by(small):
    decoder, prompts, means, circuit, whole, literal = small
    found = prune_circuit(decoder, prompts, means, circuit, PruningOptions())
    table = found.significance
    np.testing.assert_allclose(found.judged.before.mean(1), table["accuracy_without_K"])
    np.testing.assert_allclose(found.judged.after.mean(1), table["accuracy_without_K_and_head"])
    assert (found.judged.before != found.judged.after).any()
    for row, *answers in zip(table.itertuples(), *found.judged, strict=True):
        mask, role = whole.copy(), 0 if row.group == "g" else 1
        for name in row.knocked_out.split():
            layer, head = map(int, name.split("."))
            mask[role, layer, head] = False
        np.testing.assert_array_equal(answers[0], literal(mask) == prompts.answer)
        mask[role, row.layer, row.head] = False
        np.testing.assert_array_equal(answers[1], literal(mask) == prompts.answer)


def test_shards_of_pairs_give_the_same_circuit(small):
    decoder, prompts, means, circuit, *_ = small
    whole = prune_circuit(decoder, prompts, means, circuit, PruningOptions())
    accuracy = removal_accuracy(decoder, prompts, means, circuit)
    pairs = all_pairs(circuit)
    shards = pd.concat([pair_table(pairs[:4], accuracy), pair_table(pairs[4:], accuracy)], ignore_index=True)
    pd.testing.assert_frame_equal(shards, whole.pairs)
    again = prune_circuit(decoder, prompts, means, circuit, PruningOptions(), pairs=shards)
    assert again.circuit == whole.circuit
    assert 0 < whole.circuit.size < circuit.size
    assert whole.significance["kept"].sum() == whole.circuit.size
