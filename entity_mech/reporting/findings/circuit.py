"""Is the same circuit there after fine-tuning?

Tables: `faithfulness` (all of faithfulness/) and `overlap` (tables/overlap.csv), the last one where it was run.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from entity_mech.reporting.findings.estimate import Estimate, estimate, minus, percent
from entity_mech.reporting.findings.finding import LEFT_OUT, NOT_SHOWN, PARTLY, SAME_CIRCUIT, YES, Finding
from entity_mech.reporting.published import published
from entity_mech.reporting.study import Study
from entity_mech.reporting.tables import Tables, faithfulness_table, first


def _share(row: pd.Series) -> Estimate:
    return estimate(row, "faithfulness", "faithfulness_low", "faithfulness_high")


def _accuracy(row: pd.Series) -> Estimate:
    return estimate(row, "accuracy", "accuracy_low", "accuracy_high")


def heads_in_words(count: int) -> str:
    """`1 head`, `2 heads`."""
    return f"{count} head{'' if count == 1 else 's'}"


def circuit_findings(study: Study, tables: Tables, model: str) -> list[Finding]:
    """Whether the base's circuit is a fine-tuned model's too: by what it recovers, and by its heads."""
    return [
        same_circuit_finding(study, tables, model),
        *own_circuit_findings(study, tables, model),
        *overlap_findings(study, tables, model),
    ]


def own_circuit_findings(study: Study, tables: Tables, model: str) -> list[Finding]:
    """How much of its own model's accuracy a circuit recovers; nothing where that was not measured.

    A number that answers nothing by itself. Beside it, the ceiling (all heads at the circuit's tokens) and the mean
    of random circuits of its size.
    """
    row = first(faithfulness_table(tables["faithfulness"]), circuit=model, model=model)
    if row is None:
        return []
    share, name = _share(row), study.label(model)
    circuit = f"the circuit of {name} ({heads_in_words(int(row['heads']))})"
    if np.isnan(share.value):
        sentence = f"{name} answers no query correctly, so {circuit} has no accuracy to recover."
    else:
        sentence = f"On its own, {circuit} recovers {share} of the model's accuracy"
        beside = []
        if pd.notna(row["ceiling_faithfulness"]):
            beside.append(f"all heads at the same tokens recover {percent(row['ceiling_faithfulness'])}")
        if pd.notna(row["random_faithfulness"]):
            beside.append(f"random circuits of its size {percent(row['random_faithfulness'])} on average")
        sentence += f"; {', '.join(beside)}." if beside else "."
    known = float(row["published_faithfulness"])
    return [Finding(SAME_CIRCUIT, model, "own circuit", sentence, "", share, known, "faithfulness")]


def same_circuit_finding(study: Study, tables: Tables, model: str) -> Finding:
    """Whether the base's circuit does a fine-tuned model's work as well as the model's own circuit.

    Null: the base's circuit recovers no more of the model's accuracy than random circuits of its size.
    Alternative: it recovers more; the same circuit where it is also not shown to be behind the model's own, part of
    it where it is behind. Statistics: the low end of the circuit's 95% interval against the best random circuit, and
    the difference of the two circuits' accuracies.
    """
    table, results = faithfulness_table(tables["faithfulness"]), tables["faithfulness"]
    theirs, own = (first(table, circuit=circuit, model=model) for circuit in (study.base, model))
    if theirs is None or own is None:
        return Finding(SAME_CIRCUIT, model, "base circuit", "Faithfulness was left out of this run.", LEFT_OUT)
    share, name, base = _share(theirs), study.label(model), study.label(study.base)
    mine = (results["model"] == model) & (results["circuit"] == study.base) & (results["kind"] == "random")
    drawn = results[mine]["faithfulness"]
    random = float(drawn.max()) if len(drawn) else 0.0
    behind = minus(_accuracy(own), _accuracy(theirs))
    opening = f"In {name}, the circuit of {base} recovers {share} of the accuracy"
    both = f"{opening}, and {name}'s own circuit {_share(own)}"
    if np.isnan(share.value):
        answer = NOT_SHOWN
        sentence = f"{name} answers no query correctly, so no circuit can recover a share of its accuracy."
    elif not share.known or share.low <= random:
        answer = NOT_SHOWN
        sentence = f"{opening}; more than the best random circuit of its size ({percent(random)}) is not shown."
    elif behind.above_zero:
        answer = PARTLY
        sentence = f"{both}, which is {behind.size()} more accurate: {base}'s circuit is part of what {name} uses."
    else:
        answer, sentence = YES, f"{both}; a difference in accuracy is not shown ({behind.points()})."
    known = float(theirs["published_faithfulness"])
    return Finding(SAME_CIRCUIT, model, "base circuit", sentence, answer, share, known, "faithfulness")


def overlap_findings(study: Study, tables: Tables, model: str) -> list[Finding]:
    """How many of the base circuit's heads are in a fine-tuned model's circuit, group by group; counts alone."""
    table = tables.get("overlap")
    if table is None:
        text = "Overlap of the circuits was left out of this run."
        return [Finding(SAME_CIRCUIT, model, "overlap", text, LEFT_OUT)]
    known, parts = published("overlap"), []
    for group in study.by_letter:
        row = first(table, circuit_1=study.base, circuit_2=model, letter=group.letter)
        if row is None:
            continue
        there = first(known, circuit_1=study.base, circuit_2=model, letter=group.letter)
        beside = f", published {int(there['shared'])} of {int(there['heads_1'])}" if there is not None else ""
        chance = f"by chance {float(row['chance_shared']):.1f}"
        parts.append(f"{group.letter} {int(row['shared'])} of {int(row['heads_1'])} ({chance}{beside})")
    if not parts:
        return []
    both = f"Heads of {study.label(study.base)}'s circuit that are also in {study.label(model)}'s"
    return [Finding(SAME_CIRCUIT, model, "overlap", f"{both}: {'; '.join(parts)}.", source="overlap")]
