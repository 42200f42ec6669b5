"""Findings are made from the numbers: other numbers, other sentences."""

import numpy as np
import pandas as pd
import pytest

import tests.helpers.reporting_stage_tables as more
import tests.helpers.reporting_tables as tables
from entity_mech.methods.intervals import mean_interval
from entity_mech.reporting.findings.estimate import Estimate, minus
from entity_mech.reporting.findings.finding import findings_table
from entity_mech.reporting.findings.gain import gain_of
from entity_mech.reporting.findings.page import findings_markdown, summary_table, verdict
from entity_mech.reporting.published import published
from tests.helpers.reporting_answers import LIMITS, about, found_in
from tests.helpers.reporting_study import PAPER as PAPER_MODELS
from tests.helpers.reporting_study import make_study
from tests.helpers.reporting_tables import run_tables

TWO = make_study(2)
PAPER = make_study(names=PAPER_MODELS)


def test_difference_of_estimates() -> None:
    found = minus(Estimate(0.8, 0.77, 0.84), Estimate(0.6, 0.56, 0.63))
    assert found == pytest.approx((0.2, 0.2 - np.hypot(0.03, 0.03), 0.2 + np.hypot(0.04, 0.04)))
    assert not minus(Estimate(0.8), Estimate(0.6, 0.5, 0.7)).known


def test_numbers_read_as_people_say_them() -> None:
    assert str(Estimate(0.7, 0.66, 0.734)) == "70% [66%, 73%]"
    assert str(Estimate(1.058)) == "106%"
    assert str(Estimate(np.nan)) == Estimate(np.nan).points() == "undefined"
    assert Estimate(0.212, 0.169, 0.255).points() == "+21 points [+17, +26]"
    assert Estimate(0.012, 0.002, 0.022).points() == "+1.2 points [+0.2, +2.2]"  # the ends keep their sign
    assert Estimate(-0.01, -0.03, 0.0).points() == "-1 point [-3, 0]"
    assert Estimate(-0.022, -0.041, -0.012).size() == "2 points [1, 4]"
    assert Estimate(0.0).points() == "0 points"
    assert Estimate(-0.022, -0.041, -0.012).size("%") == "2% [1%, 4%]"


@pytest.mark.parametrize(
    ("value", "answer", "words"),
    [
        (0.67, "not shown", "A difference in accuracy between chat (control) and base is not shown"),
        (0.80, "yes", "is 14 points [11, 17] more accurate than base"),
        (0.5, "no", "is 16 points [12, 19] less accurate than base"),
    ],
)
def test_gain_follows_its_interval(value: float, answer: str, words: str) -> None:
    findings = found_in(TWO, run_tables(TWO, {"base": 0.66, "chat": value}))
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
    paired, p = gain_of(TWO, {"behaviour": behaviour, "answers": answers}, "chat")
    apart, unknown = gain_of(TWO, {"behaviour": behaviour}, "chat")
    assert p < 0.001
    assert np.isnan(unknown)
    assert paired.value == pytest.approx(better.mean() - base.mean())
    assert apart.value == pytest.approx(paired.value)
    assert paired.low > 0
    assert paired.high - paired.low < 0.6 * (apart.high - apart.low)


def test_a_model_that_is_never_right_has_undefined_shares() -> None:
    given = run_tables(TWO, {"base": 0.66, "chat": 0.0})
    where = given["faithfulness"]["model"] == "chat"
    given["faithfulness"].loc[where, ["faithfulness", "faithfulness_low", "faithfulness_high"]] = np.nan
    findings = found_in(TWO, given)
    assert about(findings, "same_circuit", "chat", "base circuit").answer == "cannot tell"
    text = findings_markdown(TWO, findings, "tiny", LIMITS)
    assert "nan" not in text
    assert "chat (control) answers no query correctly" in text


def test_no_gain_is_not_shared_out() -> None:
    given = run_tables(TWO, {"base": 0.66, "chat": 0.67})
    findings = found_in(TWO, given)
    assert "there is no gain to share out" in about(findings, "improved", "chat", "gain").sentence
    assert not any("of the gain" in one.sentence for one in findings)
    assert verdict(TWO, findings, "improved", "chat") == "no gain shown"


def test_stages_left_out_are_named() -> None:
    given = run_tables(TWO)
    text = findings_markdown(TWO, found_in(TWO, given), "tiny", LIMITS)
    assert "## Left out" in text
    assert "Overlap of the circuits was left out" in text
    without = {name: table for name, table in given.items() if name in ("behaviour", "circuits", "faithfulness")}
    short = summary_table(TWO, found_in(TWO, without)).iloc[0]
    assert (short["same_functions"], short["improved"]) == ("left out", "left out")


def test_later_stages_add_their_sentences() -> None:
    given = run_tables(TWO) | {"overlap": more.overlap(TWO)[0], "patched_heads": more.patched_heads(TWO)}
    findings = found_in(TWO, given)
    assert "Left out" not in findings_markdown(TWO, findings, "tiny", LIMITS)
    assert about(findings, "same_functions", "chat", "A heads of the base (object)").answer == "yes"
    given["patched_heads"] = more.patched_heads(TWO, better=0.0)
    assert about(found_in(TWO, given), "same_functions", "chat", "A heads of the base (object)").answer == "not shown"
    assert "of 20" in about(findings, "same_circuit", "chat", "overlap").sentence


def test_published_values_and_differences() -> None:
    given = run_tables(PAPER, {"llama-7b": 0.7, "goat-7b": 0.8})
    given["overlap"] = more.overlap(PAPER)[0]
    findings = found_in(PAPER, given)
    base = about(findings, "gain", "llama-7b", "accuracy")
    assert base.published == 0.66
    assert base.text.endswith("of the queries correctly (published: 66%, a difference of +4 points).")
    assert about(findings, "gain", "goat-7b", "gain").published == pytest.approx(0.16)
    assert about(findings, "same_circuit", "goat-7b", "base circuit").published == pytest.approx(0.73 / 0.82)
    assert about(findings, "same_functions", "goat-7b", "A").published == pytest.approx(0.518)
    assert np.isnan(about(findings, "same_functions", "goat-7b", "D").published)  # the label has none
    assert about(findings, "improved", "goat-7b", "B outputs").published == 0.78
    assert np.isnan(about(findings, "improved", "goat-7b", "B").published)  # the paper patched outputs
    assert "published 27 of 40)" in about(findings, "same_circuit", "goat-7b", "overlap").sentence
    table = findings_table(findings)
    rows = table.dropna(subset=["published"])
    assert np.allclose(rows["difference"], rows["value"] - rows["published"])
    assert findings_table(found_in(TWO, run_tables(TWO)))["published"].isna().all()


@pytest.mark.parametrize("task", [{"boxes": 5}, {"template": "{label} has the {object}"}, {"capitalize": False}])
def test_other_prompts_than_the_papers_have_no_published_values_and_the_page_says_so(task) -> None:
    study = make_study(names=PAPER.models, task=task)
    findings = found_in(study, run_tables(study))
    assert findings_table(findings)["published"].isna().all()
    said = "Published values of llama-7b, vicuna-7b, goat-7b, float-7b are of the paper's prompts"
    page = findings_markdown(study, findings, "paper", LIMITS)
    assert said in page
    assert "published:" not in page
    assert said not in findings_markdown(PAPER, found_in(PAPER, run_tables(PAPER)), "paper", LIMITS)
    named_otherwise = make_study(2, task=task)
    assert said[:20] not in findings_markdown(
        named_otherwise, found_in(named_otherwise, run_tables(named_otherwise)), "tiny", LIMITS
    )


def test_what_was_given_is_said_first_of_a_models_circuit() -> None:
    given = run_tables(TWO)
    scores = {"model": "chat", "file": "s.csv", "digest": "d1", "search": ["value_fetcher", "structure_reader"]}
    given["given_scores"] = pd.DataFrame({**scores, "offset": [0.0, 0.0172]})
    given["given_circuits"] = pd.DataFrame({"model": ["base"], "file": ["c.json"], "digest": ["d2"], "heads": [9]})
    findings = found_in(TWO, given)
    base, chat = (about(findings, "same_circuit", model, "given").sentence for model in ("base", "chat"))
    assert base.startswith("The circuit of base was given (c.json, digest d2), not searched for or pruned")
    assert "Left out for it: score maps" in base
    assert chat.startswith("The path-patching scores of chat (control) were given (s.csv, digest d1).")
    assert "structure reader +0.0172: it was taken off" in chat
    assert "value fetcher" not in chat
    assert "Left out for it: stability" in chat
    given["given_circuits"] = given["given_circuits"].assign(model="chat")
    both = about(found_in(TWO, given), "same_circuit", "chat", "given").sentence
    assert "Left out for it: the significance of each head, and stability" in both
    own = [one.about for one in found_in(TWO, given) if (one.question, one.model) == ("same_circuit", "chat")]
    assert own[0] == "given"


def test_published_tables_are_shares() -> None:
    for name in ("behaviour", "dcm", "cmap", "cmap_inputs", "knockout", "patched_heads", "probes"):
        assert published(PAPER, name)["accuracy"].between(0, 1).all()
    assert not (published(PAPER, "dcm")["desideratum"] == "label").any()
    kept = published(PAPER, "circuit_sizes").groupby("model")["kept"].sum()
    assert kept.to_dict() == {"llama-7b": 72, "goat-7b": 175, "float-7b": 175}


def test_the_page_is_the_same_twice_and_in_config_order() -> None:
    first, second = (findings_markdown(PAPER, found_in(PAPER, run_tables(PAPER)), "paper", LIMITS) for _ in range(2))
    assert first == second
    assert first.index("| vicuna-7b") < first.index("| goat-7b") < first.index("| float-7b")


def test_only_models_fine_tuned_from_the_base_are_compared_with_it() -> None:
    study = make_study(2, others=("stranger",))
    findings = found_in(study, run_tables(study))
    own = [(one.question, one.about, one.answer) for one in findings if one.model == "stranger"]
    about_circuit = [("same_circuit", about, "") for about in ("pruning", "own circuit")]
    assert own == [("gain", "accuracy", ""), *about_circuit]
    assert list(summary_table(study, findings)["model"]) == ["chat"]
    page = findings_markdown(study, findings, "tiny", LIMITS)
    assert "Base: base. Fine-tuned from it: chat (control). Other models: stranger." in page
    assert "**stranger**" in page
