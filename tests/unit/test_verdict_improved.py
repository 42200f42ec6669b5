"""What fine-tuning improved: rises over the same prompts, random heads outside both circuits, shares of the gain."""

import numpy as np
import pytest

from entity_mech.methods.cmap import CmapOptions, cmap_parts, heads_of_both, run_cmap
from entity_mech.reporting.findings.estimate import estimate
from entity_mech.reporting.findings.page import verdict
from entity_mech.reporting.tables import first
from tests.helpers.cmap_sides import CIRCUIT, PROMPTS, SELECTED, side
from tests.helpers.reporting_answers import about, found_in
from tests.helpers.reporting_study import make_study
from tests.helpers.reporting_tables import cmap, run_tables

TWO = make_study(2)
BETTER = {"base": 0.66, "chat": 0.82}


def test_improvement_and_its_share() -> None:
    findings = found_in(TWO, run_tables(TWO, BETTER))
    found = about(findings, "improved", "chat", "A")
    assert found.answer == "yes"
    assert "+11 points [+8, +14], which is 70% [50%, 90%] of the gain; random heads reach" in found.sentence
    assert found.number.value == pytest.approx(0.66 + 0.7 * 0.16)
    assert about(findings, "improved", "chat", "C").answer == "not shown"
    assert "all heads of the group were patched" in about(findings, "improved", "chat", "D").sentence
    assert verdict(TWO, findings, "improved", "chat") == "A (77%), B (72%)"


def test_a_group_is_improved_by_its_own_weights_and_its_outputs_stand_beside() -> None:
    """Outputs hold all that was improved before them: A's outputs bring the gain of a repair of B."""
    findings = found_in(TWO, {**run_tables(TWO, BETTER), "cmap": cmap(TWO, direct={"A": 0.0})})
    own, outputs = (about(findings, "improved", "chat", what) for what in ("A", "A outputs"))
    assert (own.answer, outputs.answer) == ("not shown", "yes")
    assert own.sentence.startswith(
        "With group A (value fetcher) of chat (control), run on base's own inputs, patched"
    )
    assert outputs.sentence.startswith(
        "With the outputs of group A (value fetcher) in chat (control) patched in, base"
    )
    assert verdict(TWO, findings, "improved", "chat") == "B (72%)"
    findings = found_in(TWO, {**run_tables(TWO, BETTER), "cmap": cmap(TWO, direct=dict.fromkeys("ABCD", 0.0))})
    assert verdict(TWO, findings, "improved", "chat") == "not shown; A outputs (77%), B outputs (72%)"


def test_the_rise_and_the_share_are_those_that_cmap_measured() -> None:
    """Over the same prompts, with the gain's own uncertainty: the old rule divided by a gain taken as exact."""
    base, tuned = side("base", 0)[0], side("chat", 1)[0]
    parts, taken = {"chat": cmap_parts(CIRCUIT, SELECTED)}, heads_of_both(CIRCUIT)
    table = run_cmap(base, tuned, parts, taken, CmapOptions(random_draws=20))
    findings = found_in(TWO, {**run_tables(TWO, BETTER), "cmap": table})
    row = first(table, donor="chat", target="base", circuit="chat", part="full", kind="chosen")
    found = about(findings, "improved", "chat", "full")
    assert estimate(row, "gain", "gain_low", "gain_high").points() in found.sentence
    assert (row["gain_p"] < 0.05) == (row["gain_low"] > 0 or row["gain_high"] < 0)
    assert found.number == estimate(row, "accuracy")
    assert row["n"] == len(PROMPTS)


def test_what_random_heads_reach_is_no_improvement() -> None:
    given = run_tables(TWO, BETTER)
    drawn = (given["cmap"]["kind"] == "random") & (given["cmap"]["part"] == "A")
    given["cmap"].loc[drawn & (given["cmap"]["draw"] == 3), "gain"] = 0.14
    found = about(found_in(TWO, given), "improved", "chat", "A")
    assert found.answer == "not shown"
    assert "but random heads reach as much (up to +14 points)" in found.sentence


def test_with_too_few_random_heads_it_cannot_be_told_and_the_headline_says_so() -> None:
    given = run_tables(TWO, BETTER)
    table = given["cmap"]
    assert verdict(TWO, found_in(TWO, given), "improved", "chat") == "A (77%), B (72%)"
    few = (table["kind"] == "random") & (table["draw"] >= 10)
    given["cmap"] = table[~few]
    findings = found_in(TWO, given)
    found = about(findings, "improved", "chat", "A")
    assert found.answer == "cannot tell"
    assert "only 10 sets of as many random heads" in found.sentence
    assert verdict(TWO, findings, "improved", "chat") == "cannot tell: A (77%), B (72%)"
    given["cmap"] = table[~(few & (table["part"] == "A"))]
    assert verdict(TWO, found_in(TWO, given), "improved", "chat") == "B (72%); cannot tell: A (77%)"


def test_a_rise_must_stand_among_all_patches() -> None:
    """A rise that its interval alone would show, one of ten tests, and the weakest when two are not there."""
    given = run_tables(TWO, BETTER)
    of_d = (given["cmap"]["part"] == "D") & (given["cmap"]["way"] == "direct")
    row = of_d & (given["cmap"]["kind"] == "chosen") & (given["cmap"]["target"] == "base")
    given["cmap"].loc[row, ["gain", "gain_low", "gain_high", "gain_p"]] = [0.03, 0.001, 0.06, 0.04]
    found = about(found_in(TWO, given), "improved", "chat", "D")
    assert (found.answer, found.p) == ("not shown", pytest.approx(4 * 0.04))  # D outputs and both of C are no clearer
    assert "not after correcting for 10 tests" in found.sentence
    lone = given["cmap"][of_d | (given["cmap"]["kind"] == "own")]
    found = about(found_in(TWO, {**given, "cmap": lone}), "improved", "chat", "D")
    assert (found.answer, found.p) == ("yes", pytest.approx(0.04))


def test_an_empty_group_is_said_to_be_empty() -> None:
    """The old sentence said that the whole group was patched."""
    given = run_tables(TWO, BETTER)
    given["cmap"].loc[given["cmap"]["part"] == "C", "n_heads"] = 0
    found = about(found_in(TWO, given), "improved", "chat", "C")
    assert (found.answer, np.isnan(found.p)) == ("empty", True)
    assert (
        found.sentence
        == "Group C (position detector) is empty in chat (control): it has no heads, so there is nothing to patch."
    )


def test_an_empty_group_has_no_stand_in() -> None:
    parts = {part.name: part for part in cmap_parts(CIRCUIT, SELECTED)}
    assert (parts["C"].heads, parts["C"].fallback) == ((), False)
    assert parts["B"].fallback


def test_no_gain_is_said_and_not_shared_out() -> None:
    findings = found_in(TWO, run_tables(TWO, {"base": 0.66, "chat": 0.67}))
    said = about(findings, "improved", "chat", "gain").sentence
    assert said.startswith("chat (control) is not shown to be better than base, so there is no gain to share out (+1")
    assert not any("of the gain" in one.sentence for one in findings)
    assert verdict(TWO, findings, "improved", "chat") == "no gain shown"
