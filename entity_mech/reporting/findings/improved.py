"""Which group did fine-tuning improve?

A group is judged by its direct patch, in which nothing but its heads' weights is the fine-tuned model's; what its
outputs bring, which also hold what was improved before it, stands beside (method, section 8).

Tables: `cmap` (all of cmap/) where a model was fine-tuned, and those of `gain` and `own_circuit`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from entity_mech.methods.part_names import DIRECT, OUTPUTS, UNION, WHOLE
from entity_mech.methods.sense import no_gain
from entity_mech.reporting.findings.estimate import Estimate, estimate
from entity_mech.reporting.findings.finding import (
    CANNOT_TELL,
    EMPTY,
    GAIN,
    IMPROVED,
    LEFT_OUT,
    NO,
    NOT_SHOWN,
    YES,
    Corrected,
    Finding,
    corrected,
)
from entity_mech.reporting.findings.gain import gain_of
from entity_mech.reporting.findings.limits import Limits
from entity_mech.reporting.study import Study
from entity_mech.reporting.tables import Tables, cmap_table, first, is_true


def improvement_findings(study: Study, tables: Tables, limits: Limits) -> dict[str, list[Finding]]:
    """What each group's weights and outputs, patched into the base, give of each fine-tuned model's gain."""
    if "cmap" not in tables:
        text = "Patching across models was left out of this run."
        return {model: [Finding(IMPROVED, model, "groups", text, LEFT_OUT)] for model in study.fine_tuned}
    rows = {model: parts_of(study, tables["cmap"], model) for model in study.fine_tuned}
    p_values = corrected(
        {(model, _about(row)): _p(row) for model, found in rows.items() for row in found}  # a test of each patch
    )
    found: dict[str, list[Finding]] = {}
    for model, parts in rows.items():
        gain, _ = gain_of(study, tables, model)
        found[model] = [] if parts else [_nothing_patched(study, model)]
        text = no_gain(study.label(model), study.label(study.base), gain.low)
        if parts and (text or not gain.known):
            text = text.removesuffix(".") + f" ({gain.points()})."
            found[model].append(Finding(IMPROVED, model, GAIN, text, NOT_SHOWN, gain, source="behaviour"))
        for row in parts:
            p = p_values[model, _about(row)]
            found[model].append(improvement_finding(study, tables["cmap"], row, gain, p, limits))
    return found


def parts_of(study: Study, cmap: pd.DataFrame, model: str) -> list[pd.Series]:
    """Rows of `cmap_table` for the parts of a fine-tuned model's own circuit, patched into the base.

    An empty group has one row, not one for each way of patching it.
    """
    table = cmap_table(study, cmap)
    table = table[(table["donor"] == model) & (table["target"] == study.base) & (table["circuit"] == model)]
    wanted = [
        *((part, way) for part in study.letters for way in (DIRECT, OUTPUTS)),
        (UNION, OUTPUTS),
        (WHOLE, OUTPUTS),
    ]
    rows = (first(table, part=part, way=way) for part, way in wanted)
    return [row for row in rows if row is not None and (row["n_heads"] or row["way"] == DIRECT)]


def about_outputs(letter: str) -> str:
    """What the finding on a group's outputs is about; that on its weights is about its letter."""
    return f"{letter} outputs"


def _about(row: pd.Series) -> str:
    part = str(row["part"])
    return about_outputs(part) if row["way"] == OUTPUTS and part not in (UNION, WHOLE) else part


def _p(row: pd.Series) -> float:
    return float(row["gain_p"]) if row["n_heads"] else np.nan


def _nothing_patched(study: Study, model: str) -> Finding:
    text = f"Patching {study.label(model)} into {study.label(study.base)} was left out of this run."
    return Finding(IMPROVED, model, "groups", text, LEFT_OUT)


def improvement_finding(
    study: Study, cmap: pd.DataFrame, row: pd.Series, gain: Estimate, p: Corrected, limits: Limits
) -> Finding:
    """Whether one part of a fine-tuned model's circuit, patched into the base in one way, raises the base's accuracy.

    row: of `parts_of`. gain: the fine-tuned model's whole gain. Null: the base is as accurate as by itself, or no
    more than with as many random heads outside both circuits. Alternative: it is more accurate than both. Statistics:
    the rise over the base by itself, over the same prompts, its p value corrected for all patches of all models; and
    its rank among the rises of the random draws, of which there must be enough for the level.
    """
    part, patched, rise = str(row["part"]), estimate(row, "accuracy"), estimate(row, "gain", "gain_low", "gain_high")
    donor, target, what = study.label(str(row["donor"])), study.label(str(row["target"])), _part_name(study, part)
    if not row["n_heads"]:
        text = f"{what[0].upper()}{what[1:]} is empty in {donor}: it has no heads, so there is nothing to patch."
        return Finding(IMPROVED, str(row["model"]), _about(row), text, EMPTY, source="cmap")
    drawn, shown = _random_gains(cmap, row), p.holds(limits.alpha)
    best = Estimate(float(drawn.max()) if len(drawn) else np.nan)
    answer, how = NOT_SHOWN, rise.points()
    if shown and rise.value > 0 and 1 / (len(drawn) + 1) >= limits.alpha:
        answer = CANNOT_TELL
        how += (
            f", but only {len(drawn)} sets of as many random heads lie outside the circuits, too few to compare with"
        )
    elif shown and rise.value > 0 and not rise.value > best.value:
        how += f", but random heads reach as much (up to {best.points()})"
    elif shown and rise.value > 0:
        answer = YES
        if gain.above_zero:
            how += f", which is {estimate(row, 'share', 'share_low', 'share_high')} of the gain"
        how += f"; random heads reach {best.points()} at most"
    elif shown:
        answer, how = NO, f"{how}, worse than by itself"
    else:
        why = f"; {p.words}" if rise.above_zero or rise.below_zero else ""
        how = f"a change is not shown ({how}{why})"
    if is_true(pd.Series([row["fallback"]])).item():
        how += ". Where masks chose no head of a group, all heads of the group were patched"
    given = (
        f"{what} of {donor}, run on {target}'s own inputs,"
        if row["way"] == DIRECT
        else f"the outputs of {what} in {donor}"
    )
    sentence = f"With {given} patched in, {target} answers {patched} correctly: {how}."
    known = float(row["published"])
    return Finding(IMPROVED, str(row["model"]), _about(row), sentence, answer, patched, known, "cmap", p.p)


def _random_gains(cmap: pd.DataFrame, row: pd.Series) -> pd.Series:
    """Rises of the random draws beside a row of the chosen heads."""
    same = cmap["kind"] == "random"
    for name in ("donor", "target", "circuit", "part", "way"):
        same &= cmap[name] == row[name]
    return cmap[same]["gain"]


def _part_name(study: Study, part: str) -> str:
    names = {UNION: "the groups together", WHOLE: "the whole circuit"}
    return names.get(part) or f"group {part} ({study.group(part).words})"
