"""The findings of a run, made from its tables (method, section 10): sentences, a table, and the page findings.md.

Nothing here is typed by hand: each sentence is put together from numbers and their intervals, and says "not shown"
where the interval says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from entity_mech.reporting.answers import base_findings, behaviour_findings, circuit_findings
from entity_mech.reporting.answers_groups import EMPTY, function_findings, improvement_findings
from entity_mech.reporting.figures.cmap import UNION, WHOLE
from entity_mech.reporting.finding import LEFT_OUT, NO, NOT_SHOWN, YES, Finding, Tables
from entity_mech.reporting.published import REFERENCE
from entity_mech.reporting.study import Study, in_order

QUESTIONS = {
    "gain": "How well does each model track entities?",
    "same_circuit": "Is the same circuit there after fine-tuning?",
    "same_functions": "Do its groups do the same?",
    "improved": "Which group did fine-tuning improve?",
}
SHORT_QUESTIONS = {
    "gain": "gain in accuracy",
    "same_circuit": "same circuit?",
    "same_functions": "same functions?",
    "improved": "improved (accuracy in the base)",
}
RULES = """\
Every sentence is made from the tables by these rules; intervals are 95%, from resamples of scenes.

- A difference is shown when its interval leaves out 0. Differences of accuracy between two models, or of numbers from
  two tables, are over the same prompts where the tables hold them prompt by prompt; else their interval is put
  together from the two (MOVER), which is too wide rather than too narrow.
- The same circuit: yes, when the base's circuit carries more of the model than every random circuit of its size and
  is not shown to be behind the model's own; in part, when it is behind; else not shown.
- A group carries the object, the label or the position when its accuracy there lies above the one without patching,
  and above the second highest's interval. Groups do the same when they carry the same in both models.
- A group is improved when its outputs, patched into the base, raise the base's accuracy, above every draw of random
  heads. Its share is that rise over the model's whole gain; shares of groups need not add up to one.
"""


def find(study: Study, tables: Tables) -> list[Finding]:
    """All findings of a run.

    tables: behaviour and faithfulness; optional: answers, dcm, cmap, overlap, patched_heads (see `answers`,
    `answers_groups`). A stage that is not there is said to be left out.
    """
    found = base_findings(study, tables)
    for part in (behaviour_findings, circuit_findings, function_findings, improvement_findings):
        for model in study.finetuned:
            found += part(study, tables, model)
    return found


def verdict(study: Study, findings: Sequence[Finding], question: str, model: str) -> str:
    """The short answer to a question for a fine-tuned model."""
    own = [one for one in findings if one.question == question and one.model == model]
    if question == "gain":
        gain = next(one for one in own if one.about == "gain")
        return gain.number.signed() if gain.answer in (YES, NO) else f"not shown ({gain.number.signed()})"
    if question == "same_circuit":
        one = next(one for one in own if one.about == "base circuit")
        return one.answer if np.isnan(one.number.value) else f"{one.answer}: {one.number}"
    if question == "same_functions":
        return _same_functions(study, own)
    return _improved(study, own)


def _same_functions(study: Study, own: Sequence[Finding]) -> str:
    groups = {one.about: one.answer for one in own if one.about in study.letters}
    if not groups:
        return LEFT_OUT
    words = {YES: "same", NO: "other", NOT_SHOWN: NOT_SHOWN, EMPTY: "no heads"}
    by_word: dict[str, list[str]] = {}
    for letter, answer in groups.items():
        by_word.setdefault(words[answer], []).append(letter)
    return "; ".join(f"{' '.join(letters)} {word}" for word, letters in by_word.items())


def _improved(study: Study, own: Sequence[Finding]) -> str:
    if any(one.answer == LEFT_OUT for one in own):
        return LEFT_OUT
    if any(one.about == "gain" for one in own):
        return "no gain shown"
    better = [one for one in own if one.about in study.letters and one.answer == YES]
    better.sort(key=lambda one: -one.number.value)
    if better:
        return ", ".join(f"{one.about} ({one.number.value:.2f})" for one in better)
    together = [one.about for one in own if one.about in (UNION, WHOLE) and one.answer == YES]
    return "no group alone; all together" if together else NOT_SHOWN


def summary_table(study: Study, findings: Sequence[Finding]) -> pd.DataFrame:
    """Short answers: one row a fine-tuned model, one column a question."""
    rows = [
        {"model": model, **{name: verdict(study, findings, name, model) for name in QUESTIONS}}
        for model in study.finetuned
    ]
    return pd.DataFrame(rows, columns=["model", *QUESTIONS])


def left_out(findings: Sequence[Finding]) -> list[str]:
    """What the run left out, each once."""
    return list(dict.fromkeys(one.sentence for one in findings if one.answer == LEFT_OUT))


def findings_markdown(study: Study, findings: Sequence[Finding], run: str) -> str:
    """The page findings.md."""
    lines = [f"# Findings of the run {run}", ""]
    short = summary_table(study, findings)
    if len(short):
        lines += ["| " + " | ".join(["model", *SHORT_QUESTIONS.values()]) + " |", "|---" * 5 + "|"]
        lines += [
            "| " + " | ".join([study.label(row["model"]), *(str(row[name]) for name in QUESTIONS)]) + " |"
            for _, row in short.iterrows()
        ]
        lines.append("")
    for name, question in QUESTIONS.items():
        own = [one for one in findings if one.question == name and one.answer != LEFT_OUT]
        if own:
            lines += [f"## {question}", ""]
            for model in in_order((one.model for one in own), study.models):
                lines += [f"**{study.label(model)}**", ""]
                lines += [f"- {one.text}" for one in own if one.model == model]
                lines.append("")
    if missing := left_out(findings):
        lines += ["## Left out", "", *(f"- {text}" for text in missing), ""]
    if any(not np.isnan(one.published) for one in findings):
        lines += [f"Published values: {REFERENCE}, arXiv 2402.14811; differences are ours minus theirs.", ""]
    lines += ["## How this was decided", "", RULES]
    return "\n".join(lines)
