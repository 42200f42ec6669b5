"""Do the groups of heads do the same in a fine-tuned model as in its base?

Tables: `dcm` (all of dcm/) and `patched_heads` (all of patched_heads/) where that stage was run.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from entity_mech.reporting.findings.estimate import estimate, minus
from entity_mech.reporting.findings.finding import EMPTY, LEFT_OUT, NO, NOT_SHOWN, SAME_FUNCTIONS, YES, Finding
from entity_mech.reporting.published import published
from entity_mech.reporting.study import Group, Study
from entity_mech.reporting.tables import Tables, first

UNCLEAR = "unclear"


def carried(table: pd.DataFrame, model: str, letter: str) -> tuple[str, pd.Series | None]:
    """What a model's group carries: the desideratum with the highest accuracy, and its row.

    `empty` for a group without heads. `unclear` where no accuracy lies above the one without patching, or where the
    best one's interval reaches the second's.
    """
    own = table[(table["model"] == model) & (table["circuit"] == model) & (table["letter"] == letter)]
    if own.empty or not own["group_size"].iloc[0]:
        return EMPTY, None
    ranked = own.sort_values("accuracy", ascending=False)
    best = ranked.iloc[0]
    clear = best["low"] > best["none_accuracy"]
    if len(ranked) > 1:
        clear = clear and best["low"] > ranked.iloc[1]["high"]
    return (str(best["desideratum"]) if clear else UNCLEAR), best


def function_findings(study: Study, tables: Tables, model: str) -> list[Finding]:
    """For each group, whether it does the same in the base and in a fine-tuned model, and whether better."""
    if "dcm" not in tables:
        return [Finding(SAME_FUNCTIONS, model, "groups", "Masking was left out of this run.", LEFT_OUT)]
    found = [same_function_finding(study, tables["dcm"], model, group) for group in study.by_letter]
    return [*found, *patched_heads_findings(study, tables, model)]


def same_function_finding(study: Study, table: pd.DataFrame, model: str, group: Group) -> Finding:
    """Whether one group carries the same in the base and in a fine-tuned model.

    Null, in each model: the group carries no desideratum better than any other. Alternative: it carries one, whose
    accuracy lies above the one without patching and above the second highest's interval. Statistic: that accuracy,
    with its 95% interval over test pairs. Yes where both models give the same desideratum, no where they give two.
    """
    here, row = carried(table, model, group.letter)
    there, base_row = carried(table, study.base, group.letter)
    name, base = study.label(model), study.label(study.base)
    head = f"Group {group.letter} ({group.words})"
    if row is None or base_row is None:
        none = " and ".join(label for label, one in ((base, base_row), (name, row)) if one is None)
        sentence = f"{head} cannot be compared, because it has no heads in {none}."
        return Finding(SAME_FUNCTIONS, model, group.letter, sentence, EMPTY, source="dcm")
    number = estimate(row, "accuracy")
    ours = f"{number} of the pairs in {name}, {estimate(base_row, 'accuracy')} in {base}"
    if UNCLEAR in (here, there):
        answer = NOT_SHOWN
        which = " and ".join(label for label, what in ((base, there), (name, here)) if what == UNCLEAR)
        best, base_best = row["desideratum"], base_row["desideratum"]
        closest = f"the {best} in both" if best == base_best else f"the {best} in {name}, the {base_best} in {base}"
        sentence = f"{head}: what it carries in {which} is not shown; what comes closest is {closest} ({ours})."
    elif here == there:
        answer, sentence = YES, f"{head} carries the {here} in both. Patched, it moves the answer on {ours}."
    else:
        answer, what = NO, f"carries the {there} in {base} but the {here} in {name}"
        sentence = f"{head} {what}. Patched, it moves the answer on {ours}."
    known = first(published("dcm"), model=model, letter=group.letter, desideratum=str(row["desideratum"]))
    value = np.nan if known is None else float(known["accuracy"])
    return Finding(SAME_FUNCTIONS, model, group.letter, sentence, answer, number, value, "dcm")


def patched_heads_findings(study: Study, tables: Tables, model: str) -> list[Finding]:
    """For each group of the base, whether its own heads do their work better in a fine-tuned model."""
    if "patched_heads" not in tables:
        text = "Patching the base's heads in this model was left out of this run."
        return [Finding(SAME_FUNCTIONS, model, "patched heads", text, LEFT_OUT)]
    found = [patched_heads_finding(study, tables, model, group) for group in study.by_letter]
    return [one for one in found if one is not None]


def patched_heads_finding(study: Study, tables: Tables, model: str, group: Group) -> Finding | None:
    """Whether the base's heads for what a group carries do it better in a fine-tuned model; None without heads.

    Null: patching them moves the answer as often in both models. Alternative: it does not. Statistic: difference of
    the two accuracies over fresh pairs, shown where its 95% interval leaves out 0.
    """
    table = tables["patched_heads"]
    table = table[table["pairs"] == table["desideratum"]]
    what, _ = carried(tables["dcm"], study.base, group.letter)
    key = {"circuit": study.base, "letter": group.letter, "desideratum": what}
    row, base_row = first(table, model=model, **key), first(table, model=study.base, **key)
    if row is None or base_row is None:
        return None
    here, there = estimate(row, "accuracy"), estimate(base_row, "accuracy")
    more = minus(here, there)
    if more.above_zero:
        answer, end = YES, f"{more.size()} better"
    elif more.below_zero:
        answer, end = NO, f"{more.size()} worse"
    else:
        answer, end = NOT_SHOWN, f"a difference is not shown ({more.points()})"
    name, base = study.label(model), study.label(study.base)
    sentence = (
        f"The heads that carry the {what} in group {group.letter} of {base} move the answer on {here} of the pairs "
        f"in {name}, {there} in {base}: {end}."
    )
    known = first(published("patched_heads"), model=model, **key)
    value = np.nan if known is None else float(known["accuracy"])
    about = f"{group.letter} heads of the base"
    return Finding(SAME_FUNCTIONS, model, about, sentence, answer, here, value, "patched_heads")
