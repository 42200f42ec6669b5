"""Findings are made from the numbers: other numbers, other sentences."""

import numpy as np
import pandas as pd
import pytest

import tests.helpers.reporting_stage_tables as more
import tests.helpers.reporting_tables as tables
from entity_mech.methods.cmap import CmapOptions, cmap_parts, heads_of_both, run_cmap
from entity_mech.methods.intervals import mean_interval
from entity_mech.reporting.findings.estimate import Estimate, estimate, minus, over
from entity_mech.reporting.findings.finding import Finding, findings_table
from entity_mech.reporting.findings.gain import gain_of
from entity_mech.reporting.findings.groups import carried
from entity_mech.reporting.findings.page import find, findings_markdown, summary_table, verdict
from entity_mech.reporting.published import published
from entity_mech.reporting.tables import first
from tests.helpers.cmap_sides import CIRCUIT, PROMPTS, SELECTED, side
from tests.helpers.reporting_study import PAPER as PAPER_MODELS
from tests.helpers.reporting_study import make_study
from tests.helpers.reporting_tables import run_tables

TWO = make_study(2)
PAPER = make_study(names=PAPER_MODELS)


def about(findings: list[Finding], question: str, model: str, what: str) -> Finding:
    (found,) = (f for f in findings if (f.question, f.model, f.about) == (question, model, what))
    return found


def set_faithfulness(table: pd.DataFrame, circuit: str, model: str, value: float, half: float = 0.05) -> pd.DataFrame:
    """The table with another faithfulness (of a model with accuracy 0.8) for a circuit."""
    table = table.copy()
    row = (table["circuit"] == circuit) & (table["model"] == model) & (table["kind"] == "circuit")
    ends = {"faithfulness": 1.0, "accuracy": 0.8}
    for name, scale in ends.items():
        table.loc[row, name] = value * scale
        table.loc[row, f"{name}_low"] = (value - half) * scale
        table.loc[row, f"{name}_high"] = (value + half) * scale
    return table


def test_difference_of_estimates() -> None:
    found = minus(Estimate(0.8, 0.77, 0.84), Estimate(0.6, 0.56, 0.63))
    assert found == pytest.approx((0.2, 0.2 - np.hypot(0.03, 0.03), 0.2 + np.hypot(0.04, 0.04)))
    assert not minus(Estimate(0.8), Estimate(0.6, 0.5, 0.7)).known
    assert over(Estimate(0.1, 0.05, 0.15), 0.2) == pytest.approx((0.5, 0.25, 0.75))
    assert np.isnan(over(Estimate(0.1, 0.05, 0.15), 0.0).value)


def test_numbers_read_as_people_say_them() -> None:
    assert str(Estimate(0.7, 0.66, 0.734)) == "70% [66%, 73%]"
    assert str(Estimate(1.058)) == "106%"
    assert str(Estimate(np.nan)) == Estimate(np.nan).points() == "undefined"
    assert Estimate(0.212, 0.169, 0.255).points() == "+21 points [+17, +26]"
    assert Estimate(0.012, 0.002, 0.022).points() == "+1.2 points [+0.2, +2.2]"  # the ends keep their sign
    assert Estimate(-0.01, -0.03, 0.0).points() == "-1 point [-3, 0]"
    assert Estimate(-0.022, -0.041, -0.012).size() == "2 points [1, 4]"
    assert Estimate(0.0).points() == "0 points"


@pytest.mark.parametrize(
    ("value", "answer", "words"),
    [
        (0.70, "not shown", "A difference in accuracy between chat (control) and base is not shown"),
        (0.80, "yes", "is 14 points [8, 20] more accurate than base"),
        (0.5, "no", "is 16 points [10, 22] less accurate than base"),
    ],
)
def test_gain_follows_its_interval(value: float, answer: str, words: str) -> None:
    findings = find(TWO, run_tables(TWO, {"base": 0.66, "chat": value}))
    gain = about(findings, "gain", "chat", "gain")
    assert gain.answer == answer
    assert words in gain.sentence
    assert ("not shown" in verdict(TWO, findings, "gain", "chat")) == (answer == "not shown")


def answers_of(base: np.ndarray, better: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Columns of tables/answers.csv for two models on 70 scenes of 7 queries, the second's shuffled; the scenes."""
    scene = np.repeat(np.arange(70), 7)
    rows = {"scene": scene, "query_index": np.tile(np.arange(7), 70)}
    tables = [
        pd.DataFrame({"model": "base", **rows, "correct": base.astype(int)}),
        pd.DataFrame({"model": "chat", **rows, "correct": better.astype(int)}).sample(frac=1, random_state=1),
    ]
    return pd.concat(tables), scene


def test_gain_is_paired_where_the_answers_are_there() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(490) < 0.6
    better = base | (rng.random(490) < 0.1)
    answers, scene = answers_of(base, better)
    behaviour = tables.behaviour(TWO)
    for model, right in (("base", base), ("chat", better)):
        value = mean_interval(right, scene)
        where = (behaviour["model"] == model) & (behaviour["metric"] == "accuracy")
        behaviour.loc[where, ["value", "low", "high"]] = list(value)
    paired = gain_of(TWO, {"behaviour": behaviour, "answers": answers}, "chat")
    apart = gain_of(TWO, {"behaviour": behaviour}, "chat")
    assert paired.value == pytest.approx(better.mean() - base.mean())
    assert apart.value == pytest.approx(paired.value)
    assert paired.low > 0
    assert paired.high - paired.low < 0.6 * (apart.high - apart.low)


@pytest.mark.parametrize(
    ("share", "answer", "words"),
    [
        (0.97, "yes", "a difference in accuracy is not shown"),
        (0.6, "in part", "base's circuit is part of what chat (control) uses"),
        (0.03, "not shown", "more than the best random circuit of its size"),
    ],
)
def test_same_circuit(share: float, answer: str, words: str) -> None:
    given = run_tables(TWO)
    given["faithfulness"] = set_faithfulness(given["faithfulness"], "chat", "chat", 0.98)
    given["faithfulness"] = set_faithfulness(given["faithfulness"], "base", "chat", share)
    found = about(find(TWO, given), "same_circuit", "chat", "base circuit")
    assert (found.answer, found.number.value) == (answer, share)
    assert words in found.sentence


def set_dcm(table: pd.DataFrame, model: str, letter: str, values: dict[str, float]) -> pd.DataFrame:
    table = table.copy()
    for desideratum, value in values.items():
        row = (table["model"] == model) & (table["letter"] == letter) & (table["desideratum"] == desideratum)
        table.loc[row, ["accuracy", "low", "high"]] = [value, value - 0.05, value + 0.05]
    return table


def test_what_a_group_carries() -> None:
    table = tables.dcm(TWO)
    assert carried(table, "base", "B")[0] == "position"
    close = set_dcm(table, "base", "B", {"position": 0.5, "object": 0.45})
    assert carried(close, "base", "B")[0] == "unclear"
    nothing = set_dcm(table, "base", "B", {"position": 0.07})
    assert carried(nothing, "base", "B")[0] == "unclear"
    assert carried(tables.dcm(TWO, empty="B"), "base", "B") == ("empty", None)


@pytest.mark.parametrize(
    ("values", "answer", "words"),
    [
        ({}, "yes", "carries the position in both"),
        ({"position": 0.06, "label": 0.6}, "no", "carries the position in base but the label in chat (control)"),
        ({"position": 0.06}, "not shown", "what it carries in chat (control) is not shown"),
    ],
)
def test_same_functions(values: dict[str, float], answer: str, words: str) -> None:
    given = run_tables(TWO)
    given["dcm"] = set_dcm(given["dcm"], "chat", "B", values)
    found = about(find(TWO, given), "same_functions", "chat", "B")
    assert found.answer == answer
    assert words in found.sentence


def test_a_group_without_heads_is_said_to_be_empty() -> None:
    given = {**run_tables(TWO), "dcm": tables.dcm(TWO, empty="C")}
    findings = find(TWO, given)
    assert (
        "C (position detector) cannot be compared, because it has no heads in base and chat (control)"
        in about(findings, "same_functions", "chat", "C").sentence
    )
    assert verdict(TWO, findings, "same_functions", "chat") == "A B D same; C no heads"


def test_improvement_and_its_share() -> None:
    given = run_tables(TWO, {"base": 0.66, "chat": 0.82})
    findings = find(TWO, given)
    found = about(findings, "improved", "chat", "A")
    assert found.answer == "yes"
    assert "70%" in found.sentence
    assert found.number.value == pytest.approx(0.66 + 0.7 * 0.16)
    assert about(findings, "improved", "chat", "C").answer == "not shown"
    assert "the whole group" in about(findings, "improved", "chat", "D").sentence
    assert verdict(TWO, findings, "improved", "chat") == "A (77%), B (72%)"


def test_what_random_heads_reach_is_no_improvement() -> None:
    given = run_tables(TWO, {"base": 0.66, "chat": 0.82})
    drawn = (given["cmap"]["kind"] == "random") & (given["cmap"]["part"] == "A")
    given["cmap"].loc[drawn, "accuracy"] = 0.8
    found = about(find(TWO, given), "improved", "chat", "A")
    assert found.answer == "not shown"
    assert "but random heads reach as much (up to 80%)" in found.sentence


def test_a_rise_is_the_one_that_cmap_measured() -> None:
    """Over the same prompts where the method's table has it so, else put together from the two accuracies."""
    base, tuned = side("base", 0)[0], side("chat", 1)[0]
    parts, taken = {"chat": cmap_parts(CIRCUIT, SELECTED)}, heads_of_both(CIRCUIT)
    table = run_cmap(base, tuned, parts, taken, CmapOptions(random_draws=2))
    findings = find(TWO, {**run_tables(TWO), "cmap": table})
    row = first(table, donor="chat", target="base", circuit="chat", part="full", kind="chosen")
    rise = minus(estimate(row, "accuracy"), estimate(first(table, target="base", kind="own"), "accuracy"))
    if "gain" in table:
        rise = estimate(row, "gain", "gain_low", "gain_high")
    found = about(findings, "improved", "chat", "full")
    assert rise.known
    assert rise.points() in found.sentence
    assert found.number == estimate(row, "accuracy")
    assert row["n"] == len(PROMPTS)


def test_a_group_without_heads_improves_nothing() -> None:
    given = run_tables(TWO, {"base": 0.66, "chat": 0.82})
    given["cmap"].loc[given["cmap"]["part"] == "C", "n_heads"] = 0
    found = about(find(TWO, given), "improved", "chat", "C")
    assert (
        found.sentence == "chat (control) has no heads in group C (position detector), so there is nothing to patch."
    )


def test_a_model_that_is_never_right_has_undefined_shares() -> None:
    given = run_tables(TWO, {"base": 0.66, "chat": 0.0})
    where = given["faithfulness"]["model"] == "chat"
    given["faithfulness"].loc[where, ["faithfulness", "faithfulness_low", "faithfulness_high"]] = np.nan
    findings = find(TWO, given)
    assert about(findings, "same_circuit", "chat", "base circuit").answer == "not shown"
    text = findings_markdown(TWO, findings, "tiny")
    assert "nan" not in text
    assert "chat (control) answers no query correctly" in text


def test_no_gain_is_not_shared_out() -> None:
    given = run_tables(TWO, {"base": 0.66, "chat": 0.67})
    findings = find(TWO, given)
    assert "there is no gain to share out" in about(findings, "improved", "chat", "gain").sentence
    assert not any("of the gain" in one.sentence for one in findings)
    assert verdict(TWO, findings, "improved", "chat") == "no gain shown"


def test_stages_left_out_are_named() -> None:
    given = run_tables(TWO)
    text = findings_markdown(TWO, find(TWO, given), "tiny")
    assert "## Left out" in text
    assert "Overlap of the circuits was left out" in text
    without = {name: table for name, table in given.items() if name in ("behaviour", "faithfulness")}
    short = summary_table(TWO, find(TWO, without)).iloc[0]
    assert (short["same_functions"], short["improved"]) == ("left out", "left out")


def test_later_stages_add_their_sentences() -> None:
    given = run_tables(TWO) | {"overlap": more.overlap(TWO)[0], "patched_heads": more.patched_heads(TWO)}
    findings = find(TWO, given)
    assert "Left out" not in findings_markdown(TWO, findings, "tiny")
    assert about(findings, "same_functions", "chat", "A heads of the base").answer == "yes"
    given["patched_heads"] = more.patched_heads(TWO, better=0.0)
    assert about(find(TWO, given), "same_functions", "chat", "A heads of the base").answer == "not shown"
    assert "of 20" in about(findings, "same_circuit", "chat", "overlap").sentence


def test_published_values_and_differences() -> None:
    given = run_tables(PAPER, {"llama-7b": 0.7, "goat-7b": 0.8})
    given["overlap"] = more.overlap(PAPER)[0]
    findings = find(PAPER, given)
    base = about(findings, "gain", "llama-7b", "accuracy")
    assert base.published == 0.66
    assert base.text.endswith("of the queries correctly (published: 66%, a difference of +4 points).")
    assert about(findings, "gain", "goat-7b", "gain").published == pytest.approx(0.16)
    assert about(findings, "same_circuit", "goat-7b", "base circuit").published == pytest.approx(0.73 / 0.82)
    assert about(findings, "same_functions", "goat-7b", "A").published == pytest.approx(0.518)
    assert np.isnan(about(findings, "same_functions", "goat-7b", "D").published)  # the label has none
    assert about(findings, "improved", "goat-7b", "B").published == 0.78
    assert "published 27 of 40)" in about(findings, "same_circuit", "goat-7b", "overlap").sentence
    table = findings_table(findings)
    rows = table.dropna(subset=["published"])
    assert np.allclose(rows["difference"], rows["value"] - rows["published"])
    assert findings_table(find(TWO, run_tables(TWO)))["published"].isna().all()


def test_published_tables_are_shares() -> None:
    for name in ("behaviour", "dcm", "cmap", "cmap_inputs", "knockout", "patched_heads", "probes"):
        assert published(name)["accuracy"].between(0, 1).all()
    assert not (published("dcm")["desideratum"] == "label").any()
    kept = published("circuit_sizes").groupby("model")["kept"].sum()
    assert kept.to_dict() == {"llama-7b": 72, "goat-7b": 175, "float-7b": 175}


def test_the_page_is_the_same_twice_and_in_config_order() -> None:
    first, second = (findings_markdown(PAPER, find(PAPER, run_tables(PAPER)), "paper") for _ in range(2))
    assert first == second
    assert first.index("| vicuna-7b") < first.index("| goat-7b") < first.index("| float-7b")


def test_only_models_fine_tuned_from_the_base_are_compared_with_it() -> None:
    study = make_study(2, others=("stranger",))
    findings = find(study, run_tables(study))
    own = [(one.question, one.about, one.answer) for one in findings if one.model == "stranger"]
    assert own == [("gain", "accuracy", ""), ("same_circuit", "own circuit", "")]
    assert list(summary_table(study, findings)["model"]) == ["chat"]
    page = findings_markdown(study, findings, "tiny")
    assert "Base: base. Fine-tuned from it: chat (control). Other models: stranger." in page
    assert "**stranger**" in page
