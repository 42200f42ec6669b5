"""What a number cannot carry is said where it is first seen: logs, findings, pages."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import tests.helpers.reporting_stage_tables as more
import tests.helpers.reporting_tables as tables
from entity_mech.methods.multiple import holm
from entity_mech.methods.sense import (
    at_chance,
    hidden_groups,
    listed,
    low_ceiling,
    missed_heads,
    missing_searches,
    no_better_than_random,
    weak_model,
)
from entity_mech.reporting.findings.own_circuit import HIDDEN
from entity_mech.reporting.findings.page import findings_markdown, verdict
from entity_mech.reporting.findings.rules import tests_of as headline_tests
from tests.helpers.reporting_answers import LIMITS, about, found_in
from tests.helpers.reporting_study import make_study
from tests.helpers.reporting_tables import run_tables

TWO = make_study(2)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.4]) == pytest.approx([0.8, 0.8])
    assert np.isnan(holm([np.nan, 0.02])[0])
    assert holm([np.nan, 0.02])[1] == pytest.approx(0.02)  # what was not tested is not counted
    assert holm([]) == []


def test_sentences_appear_at_their_limits() -> None:
    assert weak_model("m", 0.2, 0.2) == ""
    assert "answers less than 20% correctly" in weak_model("m", 0.199, 0.2)
    assert at_chance("c", "m", 0.15, 1 / 7) == ""
    assert "a guess among the objects (14%)" in at_chance("c", "m", 0.14, 1 / 7)
    assert no_better_than_random("c", "m", 96, 100, LIMITS.values()) == ""
    assert "95 of 100 are less accurate" in no_better_than_random("c", "m", 95, 100, LIMITS.values())
    assert low_ceiling("c", "m", 0.9, 0.9) == ""
    assert "carry 40% of the accuracy, below 90%" in low_ceiling("c", "m", 0.4, 0.9)


def role_map(**drops: tuple[float, float]) -> pd.DataFrame:
    """Roles with the fall of accuracy without them and its p value."""
    rows = [(role, drop, drop - 0.02, drop + 0.02, p) for role, (drop, p) in drops.items()]
    table = pd.DataFrame(rows, columns=["tokens", "drop", "drop_low", "drop_high", "drop_p"])
    return table.assign(kind="needed", model="base")


def test_a_needed_token_outside_the_chain_asks_for_a_search() -> None:
    # `box` and `contains` are no more than six tests give by chance, and without `the` accuracy rises
    weak = {"box": (0.02, 0.04), "contains": (0.02, 0.03), "the": (-0.1, 1e-6)}
    table = role_map(last=(0.7, 1e-6), separator=(0.12, 1e-6), object=(0.3, 1e-6), **weak)
    said = missing_searches("base", table, ["last"], 0.05)
    assert said == (
        "base also needs heads at tokens where the chain has no search: accuracy falls by 30 points [28, 32] without "
        "those at `object`, by 12 points [10, 14] without those at `separator`. Add searches there."
    )
    assert missing_searches("base", table, ["last", "separator", "object"], 0.05) == ""


def test_a_search_that_finds_nothing_where_the_model_needs_heads_is_named() -> None:
    table = role_map(last=(0.7, 1e-6), query_label=(0.85, 1e-6), label=(0.01, 0.4))
    empty = {"group B": "last", "group C": "query_label", "group D": "label"}
    said = hidden_groups("m", table, empty, ["last"], 0.05)
    assert said.startswith(
        "No heads of group C were found in m although it needs heads there: accuracy falls by 85 points [83, 87] "
        "without those at `query_label`. Heads that do the same work"
    )
    assert hidden_groups("m", table, {"group D": "label"}, ["last"], 0.05) == ""
    assert hidden_groups("m", table, {"group C": "query_label"}, ["query_label"], 0.05) == ""


def test_hidden_groups_stand_in_the_findings() -> None:
    given = run_tables(TWO) | {"role_map": more.role_map(TWO)}
    assert not any(one.about == HIDDEN for one in found_in(TWO, given))
    circuits, table = given["circuits"], given["role_map"]
    circuits.loc[(circuits["model"] == "chat") & (circuits["letter"] == "C"), "kept"] = False
    table.loc[(table["kind"] == "needed") & (table["tokens"] == "query_label"), ["drop", "drop_p"]] = [0.6, 1e-6]
    findings = found_in(TWO, given)
    assert [one.model for one in findings if one.about == HIDDEN] == ["chat"]
    said = about(findings, "same_circuit", "chat", HIDDEN).sentence
    assert said.startswith("No heads of group C (position detector) were found in chat (control) although it needs")


def test_candidates_that_carry_much_less_than_their_tokens_are_told() -> None:
    assert missed_heads("m", 0.5, 1.0, 0.5) == ""
    given = run_tables(TWO)
    assert "searches miss heads" not in " ".join(one.sentence for one in found_in(TWO, given))
    given["pruning"].loc[given["pruning"]["model"] == "chat", "faithfulness_before"] = 0.14
    said = about(found_in(TWO, given), "same_circuit", "chat", "own circuit's worth").sentence
    assert "found there 14%, before any was pruned: the searches miss heads that it needs." in said


def test_what_pruning_did_is_told() -> None:
    given = run_tables(TWO)
    said = about(found_in(TWO, given), "same_circuit", "chat", "pruning").sentence
    assert said.startswith("Of 16 heads that the searches found in chat (control), pruning leaves ")
    assert "they recover 96% [92%, 100%] of the model's accuracy, and all of them 99% [95%, 100%]." in said
    assert "came back" not in said
    row = given["pruning"]["model"] == "chat"
    given["pruning"].loc[row, ["put_back", "names", "faithfulness_minimal", "n"]] = [1, "A 4.1", 0.02, 140]
    said = about(found_in(TWO, given), "same_circuit", "chat", "pruning").sentence
    assert "it falls from 99% of the model's accuracy to 2%. 1 head came back, with which it reaches 96%: A 4" in said
    assert "2 of the 140 pruning prompts are more than pruning.threshold (0.01): 2.0% of the accuracy" in said
    assert "From 286 prompts on the threshold decides." in said


def test_the_role_map_stands_before_the_circuit() -> None:
    given = run_tables(TWO) | {"role_map": more.role_map(TWO)}
    table = given["role_map"]
    inside = table["tokens"].isin(["last", "query_label", "label"])
    table.loc[(table["kind"] == "needed") & ~inside, ["drop", "drop_p"]] = [0.0, 1.0]
    table.loc[(table["kind"] == "needed") & (table["tokens"] == "separator"), ["drop", "drop_p"]] = [0.3, 1e-5]
    findings = found_in(TWO, given)
    of_base = [one.about for one in findings if one.question == "same_circuit" and one.model == "base"]
    assert of_base[0] == "role map"
    said = about(findings, "same_circuit", "base", "role map").sentence
    assert said.startswith("Ablating all heads at one token of the chain changes the accuracy of base by -")
    assert "falls by 30 points" in said
    assert said.endswith("without those at `separator`. Add a search there.")


def weaken(given: dict[str, pd.DataFrame], model: str, accuracy: float, below: int) -> None:
    """Give a model's own circuit this accuracy, above so many random ones."""
    table = given["faithfulness"]
    row = (table["circuit"] == model) & (table["model"] == model) & (table["kind"] == "circuit")
    values = {"accuracy": accuracy, "accuracy_low": accuracy - 0.02, "faithfulness": accuracy / 0.7}
    for name, value in {**values, "random_below": below}.items():
        table.loc[row, name] = value


def test_nothing_later_claims_more_than_the_circuit_carries() -> None:
    given = run_tables(TWO, {"base": 0.66, "chat": 0.82})
    findings = found_in(TWO, given)
    assert not any(one.about in ("caution", "own circuit's worth") for one in findings)
    weaken(given, "chat", 0.05, 40)
    findings = found_in(TWO, given)
    said = about(findings, "same_circuit", "chat", "own circuit's worth").sentence
    assert "is not shown to be more accurate than a guess among the objects (14%)" in said
    assert "40 of 100 are less accurate" in said
    for question in ("same_functions", "improved"):
        assert "carries nothing that is shown" in about(findings, question, "chat", "caution").sentence
        assert verdict(TWO, findings, question, "chat").endswith("(of a circuit that carries nothing)")
        own = [one.about for one in findings if (one.question, one.model) == (question, "chat")]
        assert own[0] == "caution"


def test_a_low_ceiling_is_said() -> None:
    given = run_tables(TWO)
    table = given["faithfulness"]
    table.loc[(table["kind"] == "ceiling") & (table["model"] == "base"), "faithfulness"] = 0.5
    said = about(found_in(TWO, given), "same_circuit", "base", "own circuit's worth").sentence
    assert "all heads at the tokens of its own circuit carry 50% of the accuracy, below 90%" in said
    assert "The role map, which this run left out, says where." in said


def test_every_model_under_the_limit_is_warned_of() -> None:
    """The old page warned of the base alone."""
    for accuracy, warned in ({"base": 0.66, "chat": 0.1}, ["chat"]), ({"base": 0.1, "chat": 0.12}, ["base", "chat"]):
        findings = found_in(TWO, run_tables(TWO, accuracy))
        said = {one.model for one in findings if "answers less than 20% correctly" in one.sentence}
        assert sorted(said) == warned


def test_empty_groups_are_said_with_the_circuit() -> None:
    given = run_tables(TWO)
    circuits = given["circuits"]
    circuits.loc[(circuits["model"] == "chat") & (circuits["letter"] == "C"), "kept"] = False
    found = about(found_in(TWO, given), "same_circuit", "chat", "empty groups")
    assert found.sentence.startswith(
        "The circuit of chat (control) has no heads in group C (position detector): no candidate there was needed."
    )


def test_what_was_not_found_is_told_from_what_was_pruned_away() -> None:
    given = run_tables(TWO)
    circuits = given["circuits"]
    own = circuits["model"] == "chat"
    circuits.loc[own & (circuits["letter"] == "B"), "kept"] = False
    given["circuits"] = circuits[~(own & circuits["letter"].isin(["C", "D"]))]
    said = about(found_in(TWO, given), "same_circuit", "chat", "empty groups").sentence
    assert "in group C (position detector) and group D (structure reader): the search found none there." in said
    assert "in group B (position transmitter): no candidate there was needed. What later stages say" in said


def test_where_no_prompt_is_answered_nothing_is_said_of_what_pruning_kept() -> None:
    given = run_tables(TWO) | {"stability": tables.stability(TWO), "pruning": tables.pruning(TWO)}
    assert about(found_in(TWO, given), "same_circuit", "chat", "stability").sentence
    own = given["pruning"]["model"] == "chat"
    numbers = [name for name in given["pruning"] if name.startswith("faithfulness")]
    given["pruning"].loc[own, numbers] = np.nan
    findings = found_in(TWO, given)
    said = about(findings, "same_circuit", "chat", "pruning").sentence
    assert said.endswith("chat (control) answers no pruning prompt correctly, so no head could be judged.")
    assert not any(one.about == "stability" and one.model == "chat" for one in findings)


def test_names_in_a_row() -> None:
    assert [listed("ABC"[:n]) for n in range(4)] == ["", "A", "A and B", "A, B and C"]


def test_a_circuit_that_rises_above_its_model_says_what_it_keeps() -> None:
    given = run_tables(TWO)
    assert not any("rises above" in one.sentence for one in found_in(TWO, given))
    table = given["faithfulness"]
    row = (table["circuit"] == "chat") & (table["model"] == "chat") & (table["kind"] == "circuit")
    table.loc[row, ["faithfulness", "recall", "agreement"]] = [1.4, 0.69, 0.6]
    found = about(found_in(TWO, given), "same_circuit", "chat", "own circuit")
    assert "It keeps 69%" in found.sentence
    assert "to 60%" in found.sentence
    assert "It rises above its model: of the model's right answers it keeps 69%" in found.sentence


def test_heads_that_rest_on_few_scenes_are_named() -> None:
    given = run_tables(TWO)
    assert not any(one.about == "stability" for one in found_in(TWO, given))
    table = tables.stability(TWO)
    sure = about(found_in(TWO, given | {"stability": table}), "same_circuit", "base", "stability")
    assert sure.sentence.startswith("Each of the ")
    at = table.index[(table["model"] == "base") & table["kept"]][0]
    table.loc[at, "kept_frequency"] = 0.4
    found = about(found_in(TWO, given | {"stability": table}), "same_circuit", "base", "stability")
    row = table.loc[at]
    assert "1 is kept in fewer than half of the resamples" in found.sentence
    assert found.sentence.endswith(f"(hollow in the diagram): {row['letter']} {row['layer']}.{row['head']}.")


def test_what_a_circuit_does_in_other_words_is_said() -> None:
    given = run_tables(TWO)
    assert not any(one.about.startswith("wording") for one in found_in(TWO, given))
    table = tables.wordings("base")
    found = about(found_in(TWO, given | {"wordings": table}), "same_circuit", "base", "wording by").sentence
    assert found.startswith('Asked in other words (by: "a {object} by {label}", "{label} has"), base answers 90%')
    assert "its circuit recovers 80%" in found
    assert "keeps 75%" in found
    assert "the same tokens recover 95%" in found
    assert found.endswith(
        "Of its 18 heads before pruning, 12 are found again at the same tokens in these words (by chance 2.2)."
    )
    unsearched = tables.wordings("base", again=np.nan, chance_again=np.nan, p_chance=np.nan, scored=0)
    found = about(found_in(TWO, given | {"wordings": unsearched}), "same_circuit", "base", "wording by").sentence
    assert found.endswith("recover 95%.")
    guess = tables.wordings("base", accuracy=0.16, accuracy_low=0.1, accuracy_high=0.2)
    found = about(found_in(TWO, given | {"wordings": guess}), "same_circuit", "base", "wording by").sentence
    assert "not shown to be better than a guess (14%): this wording cannot tell" in found
    assert "circuit" not in found.partition("guess")[2]


def test_the_page_prints_its_rules_with_the_configs_numbers() -> None:
    limits = replace(LIMITS, margin=0.123, smallest_effect=0.07, random_share=0.8, low_accuracy=0.31)
    findings = found_in(TWO, run_tables(TWO), limits)
    text = findings_markdown(TWO, findings, "tiny", limits)
    for words in (
        "by less than 12%",
        "by 7 points or more",
        "beats 80% of random circuits",
        "less than 31% correctly",
    ):
        assert words in text
    tests = headline_tests(findings)
    assert tests == {"gain": 1, "same_circuit": 1, "same_functions": 4, "improved": 10}
    assert "16 were tested (gain 1, same circuit 1, same functions 4, improved 10)" in text
