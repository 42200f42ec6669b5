"""Same circuit? The two circuits on the same prompts, a margin, random circuits, chance and the ceiling."""

import numpy as np
import pandas as pd
import pytest

from entity_mech.methods.intervals import relative_difference, relative_difference_p
from entity_mech.reporting.findings.finding import Finding
from entity_mech.reporting.findings.page import verdict
from tests.helpers.reporting_answers import LIMITS, about, found_in
from tests.helpers.reporting_study import make_study
from tests.helpers.reporting_tables import run_tables

TWO = make_study(2)
WHOLE = 0.75  # accuracy of `chat`


def set_circuit(table: pd.DataFrame, circuit: str, accuracy: float, kind: str = "circuit") -> None:
    """Give a circuit, or its ceiling, this accuracy in `chat`, with the interval that it has on 490 prompts."""
    row = (table["circuit"] == circuit) & (table["model"] == "chat") & (table["kind"] == kind)
    half = 2 * np.sqrt(max(accuracy, 0.01) * (1 - accuracy) / 490)
    for name, value, width in (("accuracy", accuracy, half), ("faithfulness", accuracy / WHOLE, half / WHOLE)):
        table.loc[row, [name, f"{name}_low", f"{name}_high"]] = [value, value - width, value + width]


def judged(own: float, theirs: float, below: int = 100, ceiling: float = WHOLE) -> Finding:
    """The finding where the model's own circuit and the base's have these accuracies, nested prompt by prompt."""
    given = run_tables(TWO, {"base": 0.66, "chat": WHOLE})
    table = given["faithfulness"]
    set_circuit(table, "chat", own)
    set_circuit(table, "base", theirs)
    set_circuit(table, "base", ceiling, "ceiling")
    row = (table["circuit"] == "base") & (table["model"] == "chat") & (table["kind"] == "circuit")
    table.loc[row, "random_below"] = below
    return about(found_in(TWO, given), "same_circuit", "chat", "base circuit")


@pytest.mark.parametrize(
    ("own", "theirs", "answer", "words"),
    [
        (0.74, 0.731, "yes", "the first is 1.4% [-0.3%, 3.0%] of the model's accuracy behind, less than the margin"),
        (0.74, 0.74, "yes", "less than the margin of 10%"),
        (0.70, 0.74, "yes", "of the model's accuracy ahead, less than the margin"),
        (0.74, 0.44, "in part", "more than the margin of 10%: base's circuit is part of what chat (control) uses"),
        (0.74, 0.67, "cannot tell", "both less and more than the margin of 10% are possible"),
    ],
)
def test_the_answer_is_the_whole_intervals(own: float, theirs: float, answer: str, words: str) -> None:
    """The old rule said "yes" where a difference was not shown between two intervals put together: at .74 and .67."""
    found = judged(own, theirs)
    assert found.answer == answer
    assert words in found.sentence
    assert (found.p < LIMITS.alpha) == (answer != "cannot tell")


def test_two_circuits_that_carry_nothing_are_not_the_same_circuit() -> None:
    """The old rule said yes: above every random circuit (3%), and no difference shown."""
    for ceiling in (0.06, WHOLE):
        found = judged(0.06, 0.06, ceiling=ceiling)
        assert found.answer == "cannot tell"
        assert "not shown to be more accurate than a guess (14%)" in found.sentence


def test_a_circuit_that_carries_little_of_its_ceiling_is_not_the_same() -> None:
    found = judged(0.3, 0.3)
    assert found.answer == "cannot tell"
    assert "carries only 40% of what all heads at its tokens carry (50% asked)" in found.sentence
    assert judged(0.3, 0.3, ceiling=0.4).answer == "yes"


def test_what_random_circuits_do_is_no_circuit() -> None:
    """95 of 100 do not show that nine in ten are beaten; the old rule looked at the best of ten."""
    found = judged(0.74, 0.73, below=95)
    assert found.answer == "no"
    assert "it is not shown to beat 90% of random circuits of its size (95 of 100 recover less)" in found.sentence
    assert judged(0.74, 0.73, below=96).answer == "yes"


def test_too_few_random_circuits_show_nothing() -> None:
    given = run_tables(TWO, {"base": 0.66, "chat": WHOLE})
    table = given["faithfulness"]
    given["faithfulness"] = table[(table["kind"] != "random") | (table["draw"] < 28)]
    found = about(found_in(TWO, given), "same_circuit", "chat", "base circuit")
    assert found.answer == "cannot tell"
    assert "28 random circuits are too few" in found.sentence


def test_a_base_at_the_margin_is_seldom_called_the_same() -> None:
    """The base's circuit 10% behind, scenes alike: yes in at most 5% of studies, in part in about as many.

    From two intervals put together, as it was done, "not behind" came out in half of them and more.
    """
    rng, scene, same = np.random.default_rng(0), np.repeat(np.arange(70), 7), 0
    studies = 300
    for _ in range(studies):
        level = rng.beta(7, 3, 70)[scene]  # accuracy of each scene
        whole = rng.random(490) < level
        own = whole & (rng.random(490) < 0.98)
        theirs = whole & (rng.random(490) < 0.88)
        found = relative_difference(own, theirs, whole, scene)
        p = relative_difference_p(own, theirs, whole, scene, LIMITS.margin)
        assert (p < 0.05) == (found.high < LIMITS.margin or found.low > LIMITS.margin)
        same += p < 0.05 and found.value < LIMITS.margin
    assert same <= 0.05 * studies


def test_the_more_models_the_stronger_the_evidence_that_each_needs() -> None:
    """A difference near the margin is enough for one model, not for one among eight."""
    alone = judged(0.74, 0.687)
    assert (alone.answer, 0.01 < alone.p < 0.05) == ("yes", True)
    many = make_study(9)
    given = run_tables(many, dict.fromkeys(many.models, WHOLE))
    table = given["faithfulness"]
    for model in many.fine_tuned:
        for circuit, accuracy in ((model, 0.74), ("base", 0.687)):
            row = (table["circuit"] == circuit) & (table["model"] == model) & (table["kind"] == "circuit")
            table.loc[row, "accuracy"] = accuracy
            table.loc[row, "accuracy_low"] = accuracy - 0.04
    found = about(found_in(many, given), "same_circuit", "chat", "base circuit")
    assert found.answer == "cannot tell"
    assert "the interval alone would show it, but not after correcting for 8 tests" in found.sentence
    assert found.p == pytest.approx(min(1, 8 * alone.p), rel=1e-3)


def test_the_headline_is_the_answer_and_its_number() -> None:
    given = run_tables(TWO, {"base": 0.66, "chat": WHOLE})
    set_circuit(given["faithfulness"], "chat", 0.74)
    set_circuit(given["faithfulness"], "base", 0.735)
    assert verdict(TWO, found_in(TWO, given), "same_circuit", "chat").startswith("yes: 98% [")
