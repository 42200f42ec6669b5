"""Is the same circuit there after fine-tuning?

Tables: `faithfulness` (all of faithfulness/), `circuit_answers` (the circuits' answers there, prompt by prompt) and
`answers` (the models' own).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from entity_mech.methods.intervals import relative_difference, relative_difference_p
from entity_mech.methods.random_test import random_p
from entity_mech.reporting.findings.answers import side_by_side
from entity_mech.reporting.findings.estimate import UNKNOWN, Estimate, estimate, percent
from entity_mech.reporting.findings.finding import (
    CANNOT_TELL,
    LEFT_OUT,
    NO,
    PARTLY,
    SAME_CIRCUIT,
    YES,
    Corrected,
    Finding,
    corrected,
)
from entity_mech.reporting.findings.limits import Limits
from entity_mech.reporting.study import Study
from entity_mech.reporting.tables import Tables, faithfulness_table, first


@dataclass(frozen=True)
class CircuitTest:
    """The base's circuit in a fine-tuned model, beside the model's own.

    theirs, own: rows of `faithfulness_table`. chance: accuracy of a guess. behind: accuracy of the model's own
    circuit minus the base's, as a share of the model's accuracy. p_margin: of `behind` against the margin. p_random:
    that the base's circuit beats random ones; p_least: the smallest that so many draws can give.
    """

    theirs: pd.Series
    own: pd.Series
    chance: float
    behind: Estimate
    p_margin: float
    p_random: float
    p_least: float

    @property
    def p(self) -> float:
        """Of the answer: both must be shown."""
        return float(np.maximum(self.p_margin, self.p_random))

    def carries(self, limits: Limits) -> bool:
        """Whether the base's circuit carries something to speak of."""
        return self.above_chance and self.of_ceiling >= limits.ceiling_share

    @property
    def above_chance(self) -> bool:
        """Whether the whole interval of its accuracy lies above a guess."""
        return bool(self.theirs["accuracy_low"] > self.chance)

    @property
    def of_ceiling(self) -> float:
        """Accuracy of the base's circuit over that of all heads at its tokens."""
        ceiling = float(self.theirs["ceiling_accuracy"])
        return float(self.theirs["accuracy"]) / ceiling if ceiling else np.nan


def same_circuit_findings(study: Study, tables: Tables, limits: Limits) -> dict[str, Finding]:
    """For each fine-tuned model, whether the base's circuit does its work as well as its own circuit."""
    tests = {model: circuit_test(study, tables, limits, model) for model in study.fine_tuned}
    p_values = corrected({model: np.nan if test is None else test.p for model, test in tests.items()})
    found = {}
    for model, test in tests.items():
        if test is None:
            text = "Faithfulness was left out of this run."
            found[model] = Finding(SAME_CIRCUIT, model, "base circuit", text, LEFT_OUT)
        else:
            found[model] = same_circuit_finding(study, model, test, p_values[model], limits)
    return found


def circuit_test(study: Study, tables: Tables, limits: Limits, model: str) -> CircuitTest | None:
    """The numbers of the question for one model; None where they were not measured."""
    table = faithfulness_table(study, tables["faithfulness"])
    theirs, own = (first(table, circuit=circuit, model=model) for circuit in (study.base, model))
    if theirs is None or own is None:
        return None
    draws, share = int(theirs["random_draws"]), limits.random_share
    behind, p_margin = behind_of(study, tables, limits, model)
    p_random = random_p(int(theirs["random_below"]), draws, share)
    return CircuitTest(theirs, own, study.task.chance, behind, p_margin, p_random, random_p(draws, draws, share))


def behind_of(study: Study, tables: Tables, limits: Limits, model: str) -> tuple[Estimate, float]:
    """(F(own circuit) - F(base's circuit)) / F(model) over the same prompts, and its p value against the margin."""
    circuits, models = tables["circuit_answers"], tables["answers"]
    circuits = circuits[(circuits["model"] == model) & (circuits["kind"] == "circuit")]
    right = side_by_side(
        {
            "own": (circuits[circuits["circuit"] == model], "correct"),
            "theirs": (circuits[circuits["circuit"] == study.base], "correct"),
            "whole": (models[models["model"] == model], "correct"),
        }
    )
    if right is None:
        return UNKNOWN, np.nan
    given = (right["own"], right["theirs"], right["whole"], right["scene"])
    return Estimate(*relative_difference(*given)), relative_difference_p(*given, limits.margin)


def same_circuit_finding(study: Study, model: str, test: CircuitTest, p: Corrected, limits: Limits) -> Finding:
    """Whether the base's circuit does a fine-tuned model's work as well as the model's own circuit.

    Two nulls. One: the base's circuit scores below the model's own by the margin, as a share of the model's
    accuracy. Alternatives: by less (yes), by more (in part). Statistic: that difference, paired over scenes. Two: no
    more than a given share of random circuits of its size score below the base's circuit. Alternative: more do (no,
    where that is not shown). Statistic: how many of those drawn do. The p value is the larger one, corrected
    for the number of models. `yes` also needs an accuracy above chance and a given share of what all heads at its
    tokens carry; anything else is `cannot tell`.
    """
    base, name = study.label(study.base), study.label(model)
    share, own = (
        estimate(row, "faithfulness", "faithfulness_low", "faithfulness_high") for row in (test.theirs, test.own)
    )
    opening = f"In {name}, the circuit of {base} recovers {share} of the accuracy"
    both = f"{opening}, and {name}'s own circuit {own}; {_apart(test.behind)}"
    margin, below, draws = percent(limits.margin), int(test.theirs["random_below"]), int(test.theirs["random_draws"])
    beats = f"{percent(limits.random_share)} of random circuits of its size"
    if np.isnan(share.value):
        answer = CANNOT_TELL
        sentence = f"{name} answers no query correctly, so no circuit can recover a share of its accuracy."
    elif not test.p_least < limits.alpha:
        answer, sentence = (
            CANNOT_TELL,
            f"{opening}; {draws} random circuits are too few to show that it beats {beats}.",
        )
    elif not test.p_random < limits.alpha:
        answer = NO
        sentence = f"{opening}; it is not shown to beat {beats} ({below} of {draws} recover less)."
    elif p.holds(limits.alpha) and test.behind.value > limits.margin:
        answer = PARTLY
        sentence = f"{both}, more than the margin of {margin}: {base}'s circuit is part of what {name} uses."
    elif p.holds(limits.alpha) and test.carries(limits):
        answer, sentence = YES, f"{both}, less than the margin of {margin}."
    else:
        answer, sentence = CANNOT_TELL, f"{both}: {_why(test, p, limits)}."
    known = float(test.theirs["published_faithfulness"])
    return Finding(SAME_CIRCUIT, model, "base circuit", sentence, answer, share, known, "faithfulness", p.p)


def _apart(behind: Estimate) -> str:
    """How far the base's circuit is behind the model's own."""
    if not behind.known:
        return "how far they are apart was not measured on the same prompts"
    side = "behind" if behind.value >= 0 else "ahead"
    return f"the first is {behind.size('%')} of the model's accuracy {side}"


def _why(test: CircuitTest, p: Corrected, limits: Limits) -> str:
    """Why there is no answer."""
    behind, margin = test.behind, percent(limits.margin)
    if not behind.known:
        return "so there is no answer"
    if behind.low <= limits.margin <= behind.high:
        return f"both less and more than the margin of {margin} are possible"
    if not test.above_chance:
        return f"but it is not shown to be more accurate than a guess ({percent(test.chance)})"
    if not test.of_ceiling >= limits.ceiling_share:
        least = percent(limits.ceiling_share)
        return f"but it carries only {percent(test.of_ceiling)} of what all heads at its tokens carry ({least} asked)"
    return p.words
