"""How well does each model track entities, and better than its base?

Tables: `behaviour` (tables/behaviour.csv) and, where it is there, `answers` (models/{model}/behaviour.csv with a
column `model`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from entity_mech.methods.intervals import difference_interval
from entity_mech.reporting.findings.estimate import UNKNOWN, Estimate, estimate, minus, percent
from entity_mech.reporting.findings.finding import GAIN, NO, NOT_SHOWN, YES, Finding
from entity_mech.reporting.published import published_accuracy
from entity_mech.reporting.study import Study
from entity_mech.reporting.tables import Tables, first

LOW_ACCURACY = 0.2  # below it a circuit means little


def own_accuracy(tables: Tables, model: str) -> Estimate:
    """Accuracy of a model on the evaluation prompts."""
    row = first(tables["behaviour"], model=model, metric="accuracy")
    return UNKNOWN if row is None else estimate(row, "value")


def accuracy_finding(study: Study, tables: Tables, model: str) -> Finding:
    """The accuracy of one model; a number that answers nothing by itself."""
    accuracy = own_accuracy(tables, model)
    sentence = f"{study.label(model)} answers {accuracy} of the queries correctly."
    if model == study.base and accuracy.value < LOW_ACCURACY:
        sentence += f" Below {percent(LOW_ACCURACY)}, a circuit says little about how a model tracks entities."
    known = published_accuracy().get(model, np.nan)
    return Finding(GAIN, model, "accuracy", sentence, "", accuracy, known, "behaviour")


def gain_findings(study: Study, tables: Tables, model: str) -> list[Finding]:
    """A fine-tuned model's accuracy, and whether it is better than the base's."""
    return [accuracy_finding(study, tables, model), gain_finding(study, tables, model)]


def gain_of(study: Study, tables: Tables, model: str) -> Estimate:
    """Accuracy of a fine-tuned model minus the base's: over the same prompts where their answers are there."""
    answers = tables.get("answers")
    if answers is not None and {model, study.base} <= set(answers["model"]):
        keys = ["scene", "query_index"]
        both = [answers[answers["model"] == name].set_index(keys)["correct"] for name in (model, study.base)]
        joined = pd.concat(both, axis=1, keys=["model", "base"]).dropna().astype(float).reset_index()
        if len(joined) == len(both[0]):
            right = (joined["model"].to_numpy(), joined["base"].to_numpy(), joined["scene"].to_numpy())
            return Estimate(*difference_interval(*right))
    return minus(own_accuracy(tables, model), own_accuracy(tables, study.base))


def gain_finding(study: Study, tables: Tables, model: str) -> Finding:
    """Whether a fine-tuned model tracks entities better than the base.

    Null: both answer the same share of the queries correctly. Alternative: they do not. Statistic: difference of
    their accuracies over the same prompts; the null is given up where its 95% interval leaves out 0.
    """
    gain, base, name = gain_of(study, tables, model), study.label(study.base), study.label(model)
    if gain.above_zero:
        answer, sentence = YES, f"{name} is {gain.size()} more accurate than {base}."
    elif gain.below_zero:
        answer, sentence = NO, f"{name} is {gain.size()} less accurate than {base}."
    else:
        answer = NOT_SHOWN
        sentence = f"A difference in accuracy between {name} and {base} is not shown ({gain.points()})."
    known = published_accuracy()
    there = known.get(model, np.nan) - known.get(study.base, np.nan)
    return Finding(GAIN, model, "gain", sentence, answer, gain, there, "behaviour")
