"""The findings of a run, made from its tables (method, section 10): short answers, and the page findings.md.

Nothing here is typed by hand: each sentence is put together from numbers and their intervals, and says "not shown" or
"cannot tell" where they do not answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from entity_mech.methods.part_names import UNION, WHOLE
from entity_mech.reporting.findings.estimate import percent
from entity_mech.reporting.findings.finding import (
    CANNOT_TELL,
    CARRIES_NONE,
    EMPTY,
    GAIN,
    IMPROVED,
    LEFT_OUT,
    NO,
    NOT_SHOWN,
    SAME_CIRCUIT,
    SAME_FUNCTIONS,
    YES,
    Finding,
)
from entity_mech.reporting.findings.gain import accuracy_finding, gain_findings
from entity_mech.reporting.findings.improved import about_outputs, improvement_findings
from entity_mech.reporting.findings.limits import Limits
from entity_mech.reporting.findings.own_circuit import caution, overlap_findings, own_circuit_findings
from entity_mech.reporting.findings.rules import rules, tests_of
from entity_mech.reporting.findings.same_circuit import same_circuit_findings
from entity_mech.reporting.findings.same_functions import function_findings
from entity_mech.reporting.markdown import bullet, escaped
from entity_mech.reporting.published import REFERENCE, no_comparison
from entity_mech.reporting.study import Study, in_order
from entity_mech.reporting.tables import Tables

QUESTIONS = {
    GAIN: "How well does each model track entities?",
    SAME_CIRCUIT: "Is the same circuit there after fine-tuning?",
    SAME_FUNCTIONS: "Do its groups do the same?",
    IMPROVED: "Which group did fine-tuning improve?",
}
SHORT_QUESTIONS = {
    GAIN: "gain in accuracy",
    SAME_CIRCUIT: "same circuit?",
    SAME_FUNCTIONS: "same functions?",
    IMPROVED: "improved (accuracy in the base)",
}


def find(study: Study, tables: Tables, limits: Limits) -> list[Finding]:
    """All findings of a run, question by question: what stands alone for every model, then the headline answers.

    tables: behaviour, answers, circuits, pruning, faithfulness and circuit_answers; optional: role_map, stability,
    dcm with dcm_answers, cmap, overlap, patched_heads with patched_answers (see the modules of the four questions). A
    stage that is not there is said to be left out.
    """
    others = [model for model in study.models if model not in study.fine_tuned]
    found = [accuracy_finding(study, tables, limits, model) for model in others]
    if text := no_comparison(study):
        found.append(Finding(GAIN, study.base, "published", text, LEFT_OUT))
    found += gain_findings(study, tables, limits)
    same_circuit = same_circuit_findings(study, tables, limits)
    for model in study.models:
        found += own_circuit_findings(study, tables, limits, model)
        if model in same_circuit:
            found += [same_circuit[model], *overlap_findings(study, tables, model)]
    for question, headlines in (
        (SAME_FUNCTIONS, function_findings(study, tables, limits)),
        (IMPROVED, improvement_findings(study, tables, limits)),
    ):
        for model, those in headlines.items():
            if not all(one.answer == LEFT_OUT for one in those):
                found += _caution(study, tables, limits, question, model)
            found += those
    return found


def _caution(study: Study, tables: Tables, limits: Limits, question: str, model: str) -> list[Finding]:
    """What to bear in mind where the groups of a circuit that carries nothing are spoken of."""
    text = caution(study, tables, limits, (study.base, model) if question == SAME_FUNCTIONS else (model,))
    return [Finding(question, model, "caution", text, source="faithfulness")] if text else []


def verdict(study: Study, findings: Sequence[Finding], question: str, model: str) -> str:
    """The short answer to a question for a fine-tuned model."""
    own = [one for one in findings if one.question == question and one.model == model]
    if question == GAIN:
        gain = next(one for one in own if one.about == "gain")
        points = gain.number.points()
        return points if gain.answer in (YES, NO) else f"{NOT_SHOWN} ({points})"
    if question == SAME_CIRCUIT:
        one = next(one for one in own if one.about == "base circuit")
        return one.answer if np.isnan(one.number.value) else f"{one.answer}: {one.number}"
    caution = any(one.about == "caution" for one in own)
    short = _same_functions(study, own) if question == SAME_FUNCTIONS else _improved(study, own)
    return f"{short} (of a circuit that carries nothing)" if caution else short


def _same_functions(study: Study, own: Sequence[Finding]) -> str:
    groups = {one.about: one.answer for one in own if one.about in study.letters}
    if not groups:
        return LEFT_OUT
    words = {YES: "same", NO: "other", CANNOT_TELL: CANNOT_TELL, CARRIES_NONE: CARRIES_NONE, EMPTY: EMPTY}
    by_word: dict[str, list[str]] = {}
    for letter, answer in groups.items():
        by_word.setdefault(words[answer], []).append(letter)
    return "; ".join(f"{' '.join(letters)} {word}" for word, letters in by_word.items())


def _improved(study: Study, own: Sequence[Finding]) -> str:
    if any(one.answer == LEFT_OUT for one in own):
        return LEFT_OUT
    if any(one.about == "gain" for one in own):
        return "no gain shown"
    outputs = [about_outputs(name) for name in study.letters]
    open_ = _named(own, CANNOT_TELL, study.letters)
    if better := _named(own, YES, study.letters):
        return f"{better}; {CANNOT_TELL}: {open_}" if open_ else better
    if open_:
        return f"{CANNOT_TELL}: {open_}"
    if better := _named(own, YES, outputs):
        return f"{NOT_SHOWN}; {better}"
    together = [one.about for one in own if one.about in (UNION, WHOLE) and one.answer == YES]
    return "no group alone; all together" if together else NOT_SHOWN


def _named(own: Sequence[Finding], answer: str, wanted: Sequence[str]) -> str:
    """The parts with an answer, the most accurate first, each with its accuracy."""
    found = sorted((one for one in own if one.answer == answer), key=lambda one: -one.number.value)
    return ", ".join(f"{one.about} ({percent(one.number.value)})" for one in found if one.about in wanted)


def summary_table(study: Study, findings: Sequence[Finding]) -> pd.DataFrame:
    """Short answers: one row a fine-tuned model, one column a question."""
    rows = [
        {"model": model, **{name: verdict(study, findings, name, model) for name in QUESTIONS}}
        for model in study.fine_tuned
    ]
    return pd.DataFrame(rows, columns=["model", *QUESTIONS])


def left_out(findings: Sequence[Finding]) -> list[str]:
    """What the run left out, each once."""
    return list(dict.fromkeys(one.sentence for one in findings if one.answer == LEFT_OUT))


def rules_of(study: Study, findings: Sequence[Finding], limits: Limits) -> list[str]:
    """How these findings were decided."""
    return rules(limits, tests_of(findings), study.task.chance)


def _about(study: Study) -> str:
    tuned = ", ".join(study.label(model) for model in study.fine_tuned) or "none"
    others = [study.label(model) for model in study.but_base if model not in study.fine_tuned]
    more = f" Other models: {', '.join(others)}." if others else ""
    return f"Base: {study.label(study.base)}. Fine-tuned from it: {tuned}.{more}"


def findings_markdown(study: Study, findings: Sequence[Finding], run: str, limits: Limits) -> str:
    """The page findings.md, in which all that comes from tables and labels is escaped."""
    lines = [f"# Findings of the run {run}", "", escaped(_about(study)), ""]
    short = summary_table(study, findings)
    if len(short):
        lines += ["| " + " | ".join(["model", *SHORT_QUESTIONS.values()]) + " |", "|---" * 5 + "|"]
        lines += [
            "| " + " | ".join(map(escaped, [study.label(row["model"]), *(row[name] for name in QUESTIONS)])) + " |"
            for _, row in short.iterrows()
        ]
        lines.append("")
    for name, question in QUESTIONS.items():
        own = [one for one in findings if one.question == name and one.answer != LEFT_OUT]
        if own:
            lines += [f"## {question}", ""]
            for model in in_order((one.model for one in own), study.models):
                lines += [f"**{escaped(study.label(model))}**", ""]
                lines += [bullet(one.text) for one in own if one.model == model]
                lines.append("")
    if missing := left_out(findings):
        lines += ["## Left out", "", *(bullet(text) for text in missing), ""]
    if any(not np.isnan(one.published) for one in findings):
        lines += [f"Published values: {REFERENCE}, arXiv 2402.14811; differences are ours minus theirs.", ""]
    lines += ["## How this was decided", "", *(bullet(rule) for rule in rules_of(study, findings, limits)), ""]
    return "\n".join(lines)
