"""Which group did fine-tuning improve?

Tables: `cmap` (all of cmap/) where a model was fine-tuned, and those of `gain`. Where `cmap` has columns gain,
gain_low and gain_high (over the same prompts, against the patched model by itself) or share, share_low and
share_high, they are used.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from entity_mech.reporting.findings.estimate import UNKNOWN, Estimate, estimate, minus, over, percent
from entity_mech.reporting.findings.finding import EMPTY, GAIN, IMPROVED, LEFT_OUT, NO, NOT_SHOWN, YES, Finding
from entity_mech.reporting.findings.gain import gain_of
from entity_mech.reporting.study import Study
from entity_mech.reporting.tables import UNION, WHOLE, Tables, cmap_table, first, is_true


def improvement_findings(study: Study, tables: Tables, model: str) -> list[Finding]:
    """What each group's outputs, patched into the base, give of the fine-tuned model's gain."""
    if "cmap" not in tables:
        return [Finding(IMPROVED, model, "groups", "Patching across models was left out of this run.", LEFT_OUT)]
    table = cmap_table(tables["cmap"])
    into_base = (table["donor"] == model) & (table["target"] == study.base) & (table["circuit"] == model)
    table, gain = table[into_base], gain_of(study, tables, model)
    if table.empty:
        text = f"Patching {study.label(model)} into {study.label(study.base)} was left out of this run."
        return [Finding(IMPROVED, model, "groups", text, LEFT_OUT)]
    found = []
    if not gain.above_zero:
        better = f"{study.label(model)} is not shown to be better than {study.label(study.base)} ({gain.points()})"
        text = f"{better}, so there is no gain to share out."
        found.append(Finding(IMPROVED, model, GAIN, text, NOT_SHOWN, gain, source="behaviour"))
    rows = (first(table, part=part) for part in (*study.letters, UNION, WHOLE))
    return [*found, *(improvement_finding(study, tables["cmap"], row, gain) for row in rows if row is not None)]


def improvement_finding(study: Study, cmap: pd.DataFrame, row: pd.Series, gain: Estimate) -> Finding:
    """Whether one part of a fine-tuned model's circuit, patched into the base, raises the base's accuracy.

    row: of `cmap_table`. gain: the fine-tuned model's whole gain. Null: the base is as accurate as by itself, or no
    more than with as many random heads. Alternative: it is more accurate than both. Statistics: the rise over the
    base by itself, with its 95% interval, and the low end of the patched accuracy against the best random draw.
    """
    part, model, patched = str(row["part"]), str(row["model"]), estimate(row, "accuracy")
    donor, target, what = study.label(str(row["donor"])), study.label(str(row["target"])), _part_name(study, part)
    if not row["n_heads"]:
        text = f"{donor} has no heads in {what}, so there is nothing to patch."
        return Finding(IMPROVED, model, part, text, EMPTY, source="cmap")
    more, drawn = _rise(cmap, row, patched), _random_accuracies(cmap, row)
    best = float(drawn.max()) if len(drawn) else -np.inf
    if more.above_zero and patched.low > best:
        answer, how = YES, more.points()
        if gain.above_zero:
            how += f", which is {_share(row, more, gain)} of the gain"
        if len(drawn):
            how += f"; with random heads {percent(row['random_accuracy'])}"
    elif more.above_zero:
        answer, how = NOT_SHOWN, f"{more.points()}, but random heads reach as much (up to {percent(best)})"
    elif more.below_zero:
        answer, how = NO, f"{more.points()}, worse than by itself"
    else:
        answer, how = NOT_SHOWN, f"a change is not shown ({more.points()})"
    if is_true(pd.Series([row["fallback"]])).item():
        how += ". Where no head of a group was chosen, the whole group was patched"
    sentence = f"With {what} of {donor} patched in, {target} answers {patched} correctly: {how}."
    return Finding(IMPROVED, model, part, sentence, answer, patched, float(row["published"]), "cmap")


def _rise(cmap: pd.DataFrame, row: pd.Series, patched: Estimate) -> Estimate:
    """Accuracy of the patched model minus its own: prompt by prompt where the table has it."""
    if "gain" in row and pd.notna(row["gain"]):
        return estimate(row, "gain", "gain_low", "gain_high")
    own = first(cmap[cmap["model"] == row["model"]], kind="own", target=row["target"])
    return minus(patched, UNKNOWN if own is None else estimate(own, "accuracy"))


def _random_accuracies(cmap: pd.DataFrame, row: pd.Series) -> pd.Series:
    """Accuracies of the random draws beside a row of the chosen heads."""
    same = cmap["kind"] == "random"
    for name in ("donor", "target", "circuit", "part"):
        same &= cmap[name] == row[name]
    return cmap[same]["accuracy"]


def _share(row: pd.Series, more: Estimate, gain: Estimate) -> Estimate:
    """Share of the model's gain: from the table where it is there, else with the gain taken as exact."""
    if "share" in row and pd.notna(row["share"]):
        return estimate(row, "share", "share_low", "share_high")
    return over(more, gain.value)


def _part_name(study: Study, part: str) -> str:
    names = {UNION: "the groups together", WHOLE: "the whole circuit"}
    return names.get(part) or f"group {part} ({study.group(part).words})"
