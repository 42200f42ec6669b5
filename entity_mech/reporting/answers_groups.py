"""Sentences about what groups of heads carry, and which of them fine-tuning improved.

Tables: `dcm` (all of dcm/), `cmap` (all of cmap/) where a model was fine-tuned, and `patched_heads` where that
stage was run (see `figures/patched_heads.py`). Where `cmap` has columns gain, gain_low and gain_high (over the same
prompts, against the patched model by itself) or share, share_low and share_high, they are used.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from entity_mech.reporting.answers import gain_of
from entity_mech.reporting.estimates import Estimate, estimate, minus, over
from entity_mech.reporting.figures.cmap import UNION, WHOLE, cmap_table
from entity_mech.reporting.finding import LEFT_OUT, NO, NOT_SHOWN, YES, Finding, Tables, first
from entity_mech.reporting.published import published
from entity_mech.reporting.study import Group, Study

EMPTY, UNCLEAR = "empty", "unclear"


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
    """For each group, whether it carries the same in the base and in a fine-tuned model."""
    if "dcm" not in tables:
        return [Finding("same_functions", model, "groups", "Masking was left out of this run.", LEFT_OUT)]
    found = [_one_group(study, tables["dcm"], model, group) for group in study.by_letter]
    return [*found, *_patched(study, tables, model)]


def _one_group(study: Study, table: pd.DataFrame, model: str, group: Group) -> Finding:
    here, row = carried(table, model, group.letter)
    there, base_row = carried(table, study.base, group.letter)
    name, base = study.label(model), study.label(study.base)
    head = f"Group {group.title}"
    if row is None or base_row is None:
        none = " and ".join(label for label, one in ((base, base_row), (name, row)) if one is None)
        sentence = f"{head}: there is nothing to compare, because it has no heads in {none}."
        return Finding("same_functions", model, group.letter, sentence, EMPTY, source="dcm")
    number = estimate(row, "accuracy")
    ours = f"{number} in {name}, {estimate(base_row, 'accuracy')} in {base}"
    if UNCLEAR in (here, there):
        answer = NOT_SHOWN
        which = " and ".join(label for label, what in ((base, there), (name, here)) if what == UNCLEAR)
        best = f"the strongest is {base_row['desideratum']} in {base} and {row['desideratum']} in {name}"
        sentence = f"{head}: what it carries in {which} is not shown; {best} ({ours})."
    elif here == there:
        answer, sentence = YES, f"{head} carries the {here} in both: accuracy {ours}."
    else:
        answer = NO
        sentence = f"{head} carries the {there} in {base} and the {here} in {name}: accuracy {ours}."
    known = first(published("dcm"), model=model, letter=group.letter, desideratum=str(row["desideratum"]))
    value = np.nan if known is None else float(known["accuracy"])
    return Finding("same_functions", model, group.letter, sentence, answer, number, value, "dcm")


def _patched(study: Study, tables: Tables, model: str) -> list[Finding]:
    """Whether the base's own heads do their work better in a fine-tuned model."""
    if "patched_heads" not in tables:
        text = "Patching the base's heads in this model was left out of this run."
        return [Finding("same_functions", model, "patched heads", text, LEFT_OUT)]
    table = tables["patched_heads"]
    table = table[table["pairs"] == table["desideratum"]]
    found = []
    for group in study.by_letter:
        what, _ = carried(tables["dcm"], study.base, group.letter)
        rows = [
            first(table, circuit=study.base, model=one, letter=group.letter, desideratum=what)
            for one in (model, study.base)
        ]
        if rows[0] is None or rows[1] is None:
            continue
        here, there = (estimate(row, "accuracy") for row in rows if row is not None)
        more = minus(here, there)
        how = "better" if more.above_zero else "worse" if more.below_zero else ""
        close = f"{how} than there ({more.signed()})" if how else f"a difference is not shown ({more.signed()})"
        answer = YES if more.above_zero else NO if more.below_zero else NOT_SHOWN
        sentence = (
            f"The heads of {study.label(study.base)} for {group.letter} {what}, patched in {study.label(model)}, "
            f"give {here}, in {study.label(study.base)} {there}: {close}."
        )
        known = first(
            published("patched_heads"), circuit=study.base, model=model, letter=group.letter, desideratum=what
        )
        value = np.nan if known is None else float(known["accuracy"])
        about = f"{group.letter} heads of the base"
        found.append(Finding("same_functions", model, about, sentence, answer, here, value, "patched_heads"))
    return found


def improvement_findings(study: Study, tables: Tables, model: str) -> list[Finding]:
    """What each group's outputs, patched into the base, give of the fine-tuned model's gain."""
    if "cmap" not in tables:
        return [Finding("improved", model, "groups", "Patching across models was left out of this run.", LEFT_OUT)]
    table = cmap_table(tables["cmap"])
    into_base = (table["donor"] == model) & (table["target"] == study.base) & (table["circuit"] == model)
    table, gain = table[into_base], gain_of(study, tables, model)
    if table.empty:
        text = f"Patching {study.label(model)} into {study.label(study.base)} was left out of this run."
        return [Finding("improved", model, "groups", text, LEFT_OUT)]
    target = _target(tables["cmap"], study.base, model)
    found = []
    if not gain.above_zero:
        text = (
            f"{study.label(model)} is not shown to be better than {study.label(study.base)} ({gain.signed()}), so "
            "there is no gain to share out."
        )
        found.append(Finding("improved", model, "gain", text, NOT_SHOWN, gain, source="behaviour"))
    for part in (*study.letters, UNION, WHOLE):
        row = first(table, part=part)
        if row is not None:
            found.append(_one_part(study, tables["cmap"], row, target, gain))
    return found


def _target(cmap: pd.DataFrame, base: str, model: str) -> Estimate:
    row = first(cmap[cmap["model"] == model], kind="own", target=base)
    return estimate(row, "accuracy") if row is not None else Estimate(np.nan)


def _one_part(study: Study, cmap: pd.DataFrame, row: pd.Series, target: Estimate, gain: Estimate) -> Finding:
    patched = estimate(row, "accuracy")
    if not row["n_heads"]:
        who, what = study.label(str(row["donor"])), _part_name(study, str(row["part"]))
        text = f"There is nothing to patch: {who} has no heads in {what}."
        return Finding("improved", str(row["model"]), str(row["part"]), text, EMPTY, source="cmap")
    paired = "gain" in row and pd.notna(row["gain"])
    more = estimate(row, "gain", "gain_low", "gain_high") if paired else minus(patched, target)
    part = str(row["part"])
    what = _part_name(study, part)
    same = (cmap["donor"] == row["donor"]) & (cmap["target"] == row["target"]) & (cmap["kind"] == "random")
    drawn = cmap[same & (cmap["circuit"] == row["circuit"]) & (cmap["part"] == part)]["accuracy"]
    best = float(drawn.max()) if len(drawn) else -np.inf
    opening = f"With {what} of {study.label(str(row['donor']))}, {study.label(str(row['target']))} answers {patched}"
    if more.above_zero and patched.low > best:
        answer, how = YES, f", {more.signed()} more"
        if gain.above_zero:
            how += f", {_share(row, more, gain).percent()} of the gain"
    elif more.above_zero:
        answer, how = NOT_SHOWN, f" ({more.signed()}), which random heads reach too (up to {best:.2f})"
    elif more.below_zero:
        answer, how = NO, f", {more.signed()}: worse than by itself"
    else:
        answer, how = NOT_SHOWN, f"; a change is not shown ({more.signed()})"
    control = f"; random heads {row['random_accuracy']:.2f}" if answer == YES and len(drawn) else ""
    note = " (no head was chosen: the whole group)" if str(row["fallback"]).lower() in ("true", "1") else ""
    sentence = f"{opening}{how}{control}{note}."
    return Finding("improved", str(row["model"]), part, sentence, answer, patched, float(row["published"]), "cmap")


def _part_name(study: Study, part: str) -> str:
    names = {UNION: "the groups together", WHOLE: "the whole circuit"}
    return names.get(part) or f"group {study.group(part).title}"


def _share(row: pd.Series, more: Estimate, gain: Estimate) -> Estimate:
    """Share of the model's gain: from the table where it is there, else with the gain taken as exact."""
    if "share" in row and pd.notna(row["share"]):
        return estimate(row, "share", "share_low", "share_high")
    return over(more, gain.value)
