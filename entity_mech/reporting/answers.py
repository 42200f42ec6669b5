"""Sentences about how well models track entities, and whether the base's circuit is theirs too.

Tables: `behaviour` (tables/behaviour.csv), `answers` (models/{model}/behaviour.csv with a column `model`),
`faithfulness` (all of faithfulness/) and `overlap` (see `figures/overlap.py`), the last one where it was run.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from entity_mech.methods.intervals import difference_interval
from entity_mech.reporting.estimates import UNKNOWN, Estimate, estimate, minus
from entity_mech.reporting.figures.faithfulness import faithfulness_table
from entity_mech.reporting.finding import LEFT_OUT, NO, NOT_SHOWN, PARTLY, YES, Finding, Tables, first
from entity_mech.reporting.published import published, published_accuracy
from entity_mech.reporting.study import Study

LOW_ACCURACY = 0.2  # below it a circuit means little


def own_accuracy(tables: Tables, model: str) -> Estimate:
    """Accuracy of a model on the evaluation prompts."""
    row = first(tables["behaviour"], model=model, metric="accuracy")
    return UNKNOWN if row is None else estimate(row, "value")


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


def behaviour_findings(study: Study, tables: Tables, model: str) -> list[Finding]:
    """How much better or worse a fine-tuned model is than the base."""
    accuracy, gain = own_accuracy(tables, model), gain_of(study, tables, model)
    base, name = study.label(study.base), study.label(model)
    known = published_accuracy()
    there = known.get(model, np.nan) - known.get(study.base, np.nan)
    if gain.above_zero:
        answer, how = YES, f"tracks entities better than {base}: {gain.signed()} in accuracy"
    elif gain.below_zero:
        answer, how = NO, f"tracks entities worse than {base}: {gain.signed()} in accuracy"
    else:
        answer, how = NOT_SHOWN, f"is not shown to differ from {base} in accuracy: {gain.signed()}"
    whole = f"{name} answers {accuracy} of the queries rightly."
    return [
        Finding("gain", model, "accuracy", whole, "", accuracy, known.get(model, np.nan), "behaviour"),
        Finding("gain", model, "gain", f"{name} {how}.", answer, gain, there, "behaviour"),
    ]


def base_findings(study: Study, tables: Tables) -> list[Finding]:
    """The base's own accuracy, and its circuit's share of it."""
    accuracy, name = own_accuracy(tables, study.base), study.label(study.base)
    sentence = f"{name}, the base, answers {accuracy} of the queries rightly."
    if accuracy.value < LOW_ACCURACY:
        sentence += f" Below {LOW_ACCURACY}, a circuit for it means little."
    known = published_accuracy().get(study.base, np.nan)
    found = [Finding("gain", study.base, "accuracy", sentence, "", accuracy, known, "behaviour")]
    row = first(faithfulness_table(tables["faithfulness"]), circuit=study.base, model=study.base)
    if row is not None:
        found.append(_own_circuit(study, row))
    return found


def _share(row: pd.Series) -> Estimate:
    return estimate(row, "faithfulness", "faithfulness_low", "faithfulness_high")


def _own_circuit(study: Study, row: pd.Series) -> Finding:
    """How much of its own model a circuit carries, beside the ceiling of its tokens and random circuits."""
    share, model = _share(row), str(row["model"])
    circuit = f"The circuit of {study.label(model)} ({heads_in_words(int(row['heads']))})"
    if np.isnan(share.value):
        sentence = f"{circuit} has no share of its accuracy, which is 0"
    else:
        sentence = f"{circuit} carries {share} of its accuracy"
        if pd.notna(row["ceiling_faithfulness"]):
            sentence += f"; all heads at the same tokens carry {row['ceiling_faithfulness']:.2f}"
        if pd.notna(row["random_faithfulness"]):
            sentence += f", random circuits of its size {row['random_faithfulness']:.2f}"
    known = row["published_faithfulness"]
    return Finding("same_circuit", model, "own circuit", sentence + ".", "", share, known, "faithfulness")


def heads_in_words(count: int) -> str:
    """`1 head`, `2 heads`."""
    return f"{count} head{'' if count == 1 else 's'}"


def circuit_findings(study: Study, tables: Tables, model: str) -> list[Finding]:
    """Whether the base's circuit carries a fine-tuned model as well as its own circuit does."""
    table = faithfulness_table(tables["faithfulness"])
    theirs, own = (first(table, circuit=circuit, model=model) for circuit in (study.base, model))
    if theirs is None or own is None:
        return [Finding("same_circuit", model, "base circuit", "Faithfulness was left out of this run.", LEFT_OUT)]
    share, name, base = _share(theirs), study.label(model), study.label(study.base)
    drawn = tables["faithfulness"]
    drawn = drawn[(drawn["model"] == model) & (drawn["circuit"] == study.base) & (drawn["kind"] == "random")]
    random = float(drawn["faithfulness"].max()) if len(drawn) else 0.0
    behind = minus(_accuracy(own), _accuracy(theirs))
    opening = f"The circuit of {base} carries {share} of the accuracy of {name}"
    whole = f"{opening}; the circuit of {name} carries {_share(own)}"
    if np.isnan(share.value):
        whole = f"The circuits of {base} and {name} have no share of the accuracy of {name}, which is 0"
        answer, end = NOT_SHOWN, ""
    elif not share.known or share.low <= random:
        answer, end = NOT_SHOWN, f"; more than the best random circuit of its size ({random:.2f}) is not shown"
    elif behind.above_zero:
        answer, end = PARTLY, f", {behind.signed()} in accuracy: {base}'s circuit is a part of what {name} uses"
    else:
        answer, end = YES, f": a difference in accuracy is not shown ({behind.signed()})"
    known = theirs["published_faithfulness"]
    found = [Finding("same_circuit", model, "base circuit", f"{whole}{end}.", answer, share, known, "faithfulness")]
    return [*found, _own_circuit(study, own), *_overlap(study, tables, model)]


def _accuracy(row: pd.Series) -> Estimate:
    return estimate(row, "accuracy", "accuracy_low", "accuracy_high")


def _overlap(study: Study, tables: Tables, model: str) -> list[Finding]:
    """How many of the base circuit's heads are in the fine-tuned model's circuit, group by group."""
    table = tables.get("overlap")
    if table is None:
        return [
            Finding("same_circuit", model, "overlap", "Overlap of the circuits was left out of this run.", LEFT_OUT)
        ]
    known = published("overlap")
    parts, found = [], []
    for group in study.by_letter:
        row = first(table, circuit_1=study.base, circuit_2=model, letter=group.letter)
        if row is None:
            continue
        there = first(known, circuit_1=study.base, circuit_2=model, letter=group.letter)
        beside = f" (published {int(there['shared'])} of {int(there['heads_1'])})" if there is not None else ""
        ours = f"{int(row['shared'])} of {int(row['heads_1'])}"
        parts.append(f"{group.letter} {ours}{beside}, by chance {float(row['chance_shared']):.1f}")
    if parts:
        text = f"Heads of {study.label(study.base)}'s circuit that are in {study.label(model)}'s: {'; '.join(parts)}."
        found.append(Finding("same_circuit", model, "overlap", text, source="overlap"))
    return found
