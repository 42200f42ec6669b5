"""Masks: a planted head is found, each step is the hooked step, and judgements are what whole prompts give."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from entity_mech.engine.prefix import EditPlan
from entity_mech.methods import dcm
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.dcm import DcmOptions, Desideratum, GroupSplit, Split, chosen_by, run_dcm, train_mask
from entity_mech.methods.head_patching import carriers, heads_at, patched_predictions, plan_of
from tests.helpers.planted_pairs import CIRCUIT, GROUP, A, D, data_for, literal_logits
from tests.helpers.random_models import decoder_from, random_llama

COLUMNS = [
    *("model", "circuit", "group", "letter", "desideratum", "heads", "n_heads", "group_size"),
    *("accuracy", "low", "high", "none_accuracy", "gain", "gain_low", "gain_high", "all_accuracy", "n"),
]


@pytest.fixture(scope="module")
def model():
    return random_llama(layers=3, kv_heads=2, spread=0.35)


def desideratum(model, group: HeadGroup = GROUP, planted: int = 2, n: int = 64, louder: float = 1.0):
    return Desideratum("planted", *(data_for(model, seed, n, group, planted, louder) for seed in (1, 2, 3)))


@pytest.mark.parametrize("group", [A, GROUP, D], ids=lambda g: g.letter)
def test_a_step_is_the_hooked_step(group):
    wide = random_llama(layers=3, kv_heads=2, spread=0.35).double()
    decoder = decoder_from(wide, torch.float64)
    data = data_for(wide, 4, 9, group, 0)
    split = GroupSplit(Split(decoder, data, [plan_of(heads_at(group))], 1 << 30), group)
    rows = np.array([7, 0, 3, 4])
    found = []
    for literal in (False, True):
        weights = torch.linspace(0.2, 0.9, len(group.heads), dtype=torch.float64).requires_grad_()
        if literal:
            logits = literal_logits(wide, data, group, weights, rows)
            logit = logits[torch.arange(4), torch.as_tensor(data.pairs.target[rows])]
        else:
            logit = split.target_logit(weights, rows)
        logit.mean().backward()
        found.append((logit.detach(), weights.grad))
    assert (found[0][0] - found[1][0]).abs().max() < 1e-10
    assert (found[0][1] - found[1][1]).abs().max() < 1e-10
    assert found[1][1].abs().max() > 1e-4


@pytest.mark.parametrize("memory", [1 << 30, 0])
def test_judgements_are_whole_prompts(model, memory):
    data = data_for(model, 5, 12, A, 1)
    data.source.z[:] *= 8  # so that every head decides something
    masks = np.array([[True, False, True], [False, True, False], [False] * 3, [True] * 3])
    with torch.no_grad():
        says = [literal_logits(model, data, A, 1 - torch.tensor(mask).float()).argmax(-1).numpy() for mask in masks]
    # Pair by pair the target is what another of the masks gives, so that each mask gets some right.
    target = np.stack(says)[np.arange(12) % 4, np.arange(12)]
    data = replace(data, pairs=replace(data.pairs, target=target))
    plans = [plan_of(heads_at(A)), EditPlan(("query_label",), 0)]
    split = GroupSplit(Split(decoder_from(model), data, plans, memory), A)
    expected = np.stack(says) == target
    assert len(set(expected.mean(1))) > 2, "the masks differ in what they get right"
    for mask, right in zip(masks, expected, strict=True):
        np.testing.assert_array_equal(split.correct(mask), right)


def test_the_planted_head_is_found(model):
    decoder, options = decoder_from(model), DcmOptions(batch_size=8)
    found = run_dcm(decoder, Circuit("m", (A,)), [desideratum(model, A, 1, louder=8.0)], options)
    row = found.summary.iloc[0]
    assert row.heads == "1.1"
    assert row.accuracy == 1.0
    assert row.gain == pytest.approx(1 - row.none_accuracy)
    assert row.gain_low < row.gain
    answers = found.answers
    assert len(answers) == row.n
    assert answers[["letter", "desideratum", "circuit"]].drop_duplicates().to_numpy().tolist() == [
        ["A", row.desideratum, "m"]
    ]
    assert answers.correct.mean() == row.accuracy
    assert answers.none_correct.mean() == pytest.approx(row.none_accuracy)
    assert 0 < answers.none_correct.sum() < row.n
    test = desideratum(model, A, 1, louder=8.0).test
    assert answers.scene.tolist() == test.pairs.base.scene.tolist()
    with torch.no_grad():
        given = literal_logits(model, test, A, torch.ones(3)).argmax(-1).numpy()
    assert answers.none_correct.tolist() == (given == test.pairs.target).astype(int).tolist()
    assert max(row.none_accuracy, row.all_accuracy) < 0.9
    assert found.heads.set_index(["layer", "head"]).selected.to_dict() == {h: h == (1, 1) for h in A.heads}


def test_tables_and_empty_groups(model):
    options = DcmOptions(epochs=1, batch_size=10, validate_every=3)
    found = run_dcm(decoder_from(model), CIRCUIT, [desideratum(model, n=32)], options)
    assert list(found.summary.columns) == COLUMNS
    assert len(found.summary) == 4
    empty = found.summary[found.summary.letter == "B"].iloc[0]
    assert (empty.n_heads, empty.group_size, empty.heads) == (0, 0, "")
    assert empty.accuracy == empty.none_accuracy == empty.all_accuracy
    assert len(found.summary.none_accuracy.unique()) == 1
    curve = found.curves[found.curves.group == "structure_reader"]
    assert curve.step.tolist() == [0, 1, 2, 3]  # the last batch is a short one
    assert curve.validation_accuracy.notna().tolist() == [True, False, False, True]
    assert set(found.heads.group) == {"value_fetcher", "position_detector", "structure_reader"}
    again = run_dcm(decoder_from(model), CIRCUIT, [desideratum(model, n=32)], options)
    for name in ("summary", "curves", "heads", "answers"):
        assert getattr(found, name).equals(getattr(again, name))


def test_a_selection_at_chance_is_none(model, capsys):
    """A mask has a best choice on its validation pairs, on test pairs it may be worth nothing."""
    decoder, options = decoder_from(model), DcmOptions(batch_size=8)
    wanted = desideratum(model, A, 1, louder=8.0)
    other = np.roll(wanted.test.pairs.target, 1)
    at_chance = replace(
        wanted, name="chance", test=replace(wanted.test, pairs=replace(wanted.test.pairs, target=other))
    )
    found = run_dcm(decoder, Circuit("m", (A,)), [wanted, at_chance], options)
    rows = found.summary.set_index("desideratum")
    assert rows["heads"].tolist() == ["1.1", "1.1"]
    assert rows.loc["planted", "gain_low"] > 0 > rows.loc["chance", "gain_low"]
    assert found.heads.groupby("desideratum")["selected"].sum().to_dict() == {"planted": 1, "chance": 0}
    assert carriers(A, "chance", found.heads) == ()
    assert (
        "group A, chance: patching the heads that its mask chose is not shown to do more" in capsys.readouterr().err
    )


def test_memory_does_not_change_a_number(model):
    tables = [
        run_dcm(
            decoder_from(model),
            Circuit("m", (GROUP, D)),
            [desideratum(model, n=20)],
            DcmOptions(epochs=1, batch_size=8, memory=memory),
        )
        for memory in (1 << 30, 0)
    ]
    assert tables[0].summary.equals(tables[1].summary)
    np.testing.assert_allclose(tables[0].curves.loss, tables[1].curves.loss, rtol=1e-5)


class Judge(GroupSplit):
    """Two heads whose weights fall one after the other; any mask has a set accuracy."""

    def __init__(self, decoder, right: list[int]) -> None:
        self.decoder, self.right, self.asked = decoder, right, []
        self.heads, self.target = (("last", 0, 0), ("last", 0, 1)), torch.zeros(160)

    def target_logit(self, weights, rows):
        falling = weights[0] if weights[0] > 0 else weights[1]
        return -falling.expand(len(rows))

    def correct(self, patched):
        self.asked.append(int(patched.sum()))
        return np.arange(10) < self.right[patched.sum()]


@pytest.mark.parametrize(("ties", "n"), [("fewer", 1), ("more", 2)])
def test_ties_and_when_masks_are_judged(model, ties, n):
    judge = Judge(decoder_from(model), [0, 5, 5])
    found = train_mask(judge, judge, DcmOptions(batch_size=8, validate_every=4, ties=ties))
    assert len(found.curve) == 40
    assert [point["step"] for point in found.curve if not np.isnan(point["validation_accuracy"])] == [
        *range(0, 20, 4),
        *range(0, 20, 4),
    ]
    assert judge.asked[0] == 0
    assert set(judge.asked) == {0, 1, 2}
    assert found.patched.sum() == n


def test_the_best_mask_is_kept_not_the_last(model):
    judge = Judge(decoder_from(model), [0, 9, 5])
    found = train_mask(judge, judge, DcmOptions(batch_size=8))
    assert judge.asked[-1] == 2
    assert found.patched.tolist() == [True, False]


def test_a_half_rounds_to_zero():
    assert chosen_by(np.array([0.5, 0.500001, 0.0, 1.0])).tolist() == [True, False, True, False]


def test_variants_of_a_patch_equal_separate_runs(model):
    data, decoder = data_for(model, 6, 7, GROUP, 0), decoder_from(model)
    variants = [heads_at(GROUP)[:2], heads_at(GROUP)[2:], (), heads_at(A)]
    together = patched_predictions(decoder, data.pairs.base, data.source, {"x": variants}, batch=3)["x"]
    for variant, found in zip(variants, together, strict=True):
        alone = patched_predictions(decoder, data.pairs.base, data.source, {"y": [variant]})["y"][0]
        np.testing.assert_array_equal(found, alone)
    weights = torch.tensor([0.0, 0.0, 1.0, 1.0])
    with torch.no_grad():
        expected = literal_logits(model, data, GROUP, weights).argmax(-1).numpy()
    np.testing.assert_array_equal(together[0], expected)


def test_prefixes_that_do_not_fit_are_told(model, capsys):
    dcm._splits(decoder_from(model), desideratum(model, n=4), [plan_of(heads_at(A))], DcmOptions(memory=1))
    assert "prefixes do not fit" in capsys.readouterr().err
