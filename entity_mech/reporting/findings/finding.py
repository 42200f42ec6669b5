"""One finding: a number with its interval, what it answers, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from entity_mech.reporting.findings.estimate import UNKNOWN, Estimate, percent

YES, NO, PARTLY, NOT_SHOWN, LEFT_OUT = "yes", "no", "in part", "not shown", "left out"
EMPTY = "empty"  # a group without heads answers nothing
GAIN, SAME_CIRCUIT, SAME_FUNCTIONS, IMPROVED = "gain", "same_circuit", "same_functions", "improved"
COLUMNS = [
    "question", "model", "about", "answer", "value", "low", "high", "published", "difference", "source", "sentence",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """question: gain | same_circuit | same_functions | improved. about: what the number is of (a group's letter, a
    circuit; `gain` for a difference of accuracies). answer: yes, no, in part, not shown, left out, empty, or nothing
    for a number that answers nothing by itself. published: the paper's value of the same number. source: the table
    it comes from."""

    question: str
    model: str
    about: str
    sentence: str
    answer: str = ""
    number: Estimate = UNKNOWN
    published: float = np.nan
    source: str = ""

    @property
    def text(self) -> str:
        """The sentence, with the published value where there is one."""
        if np.isnan(self.published):
            return self.sentence
        known = Estimate(self.published).points() if self.about == GAIN else percent(self.published)
        beside = f"published: {known}"
        if not np.isnan(self.number.value):
            beside += f", a difference of {Estimate(self.number.value - self.published).points()}"
        return f"{self.sentence.removesuffix('.')} ({beside})."


def findings_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """One row a finding; `difference` is ours minus the published value."""
    rows = [
        (
            one.question, one.model, one.about, one.answer, *one.number, one.published,
            one.number.value - one.published, one.source, one.text,
        )
        for one in findings
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
