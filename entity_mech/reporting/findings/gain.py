"""How well does each model track entities, and better than its base?

Tables: `behaviour` (tables/behaviour.csv) and `answers` (models/{model}/behaviour/evaluation.csv with a column
`model`).
"""

from __future__ import annotations

import numpy as np

from entity_mech.methods.intervals import difference_interval, difference_p
from entity_mech.methods.sense import weak_model
from entity_mech.reporting.findings.answers import side_by_side
from entity_mech.reporting.findings.estimate import UNKNOWN, Estimate, estimate, minus
from entity_mech.reporting.findings.finding import GAIN, NO, NOT_SHOWN, YES, Corrected, Finding, corrected
from entity_mech.reporting.findings.limits import Limits
from entity_mech.reporting.published import published_accuracy
from entity_mech.reporting.study import Study
from entity_mech.reporting.tables import Tables, first


def own_accuracy(tables: Tables, model: str) -> Estimate:
    """Accuracy of a model on the evaluation prompts."""
    row = first(tables["behaviour"], model=model, metric="accuracy")
    return UNKNOWN if row is None else estimate(row, "value")


def accuracy_finding(study: Study, tables: Tables, limits: Limits, model: str) -> Finding:
    """The accuracy of one model; a number that answers nothing by itself."""
    accuracy = own_accuracy(tables, model)
    said = [f"{study.label(model)} answers {accuracy} of the queries correctly."]
    said.append(weak_model(study.label(model), accuracy.value, limits.low_accuracy))
    known = published_accuracy(study).get(model, np.nan)
    return Finding(GAIN, model, "accuracy", " ".join(filter(None, said)), "", accuracy, known, "behaviour")


def gain_findings(study: Study, tables: Tables, limits: Limits) -> list[Finding]:
    """Each fine-tuned model's accuracy, and whether it is better than the base's."""
    gains = {model: gain_of(study, tables, model) for model in study.fine_tuned}
    tests = corrected({model: p for model, (_, p) in gains.items()})
    found = []
    for model, (gain, _) in gains.items():
        found.append(accuracy_finding(study, tables, limits, model))
        found.append(gain_finding(study, model, gain, tests[model], limits))
    return found


def gain_of(study: Study, tables: Tables, model: str) -> tuple[Estimate, float]:
    """Accuracy of a fine-tuned model minus the base's, over the same prompts, and its p value against 0.

    Without their answers the interval is put together from the two (MOVER), and there is no p value.
    """
    answers = tables.get("answers")
    if answers is not None:
        both = {name: (answers[answers["model"] == name], "correct") for name in (model, study.base)}
        right = side_by_side(both)
        if right is not None:
            given = (right[model], right[study.base], right["scene"])
            return Estimate(*difference_interval(*given)), difference_p(*given)
    return minus(own_accuracy(tables, model), own_accuracy(tables, study.base)), np.nan


def gain_finding(study: Study, model: str, gain: Estimate, test: Corrected, limits: Limits) -> Finding:
    """Whether a fine-tuned model tracks entities better than the base.

    Null: both answer the same share of the queries correctly. Alternative: they do not. Statistic: difference of
    their accuracies over the same prompts, with its p value corrected for the number of models.
    """
    base, name, shown = study.label(study.base), study.label(model), test.holds(limits.alpha)
    if shown and gain.value > 0:
        answer, sentence = YES, f"{name} is {gain.size()} more accurate than {base}."
    elif shown:
        answer, sentence = NO, f"{name} is {gain.size()} less accurate than {base}."
    else:
        why = f"; {test.words}" if gain.above_zero or gain.below_zero else ""
        answer = NOT_SHOWN
        sentence = f"A difference in accuracy between {name} and {base} is not shown ({gain.points()}{why})."
    known = published_accuracy(study)
    there = known.get(model, np.nan) - known.get(study.base, np.nan)
    return Finding(GAIN, model, "gain", sentence, answer, gain, there, "behaviour", test.p)
