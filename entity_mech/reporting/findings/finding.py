"""One finding: a number with its interval, what it answers, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from entity_mech.methods.multiple import holm
from entity_mech.reporting.findings.estimate import UNKNOWN, Estimate, percent

YES, NO, PARTLY, NOT_SHOWN, LEFT_OUT = "yes", "no", "in part", "not shown", "left out"
CANNOT_TELL = "cannot tell"
EMPTY = "empty"  # a group without heads answers nothing
CARRIES_NONE = "carries none"
GAIN, SAME_CIRCUIT, SAME_FUNCTIONS, IMPROVED = "gain", "same_circuit", "same_functions", "improved"
Key = TypeVar("Key")
COLUMNS = [
    "question", "model", "about", "answer", "value", "low", "high", "p", "published", "difference", "source",
    "sentence",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """question: gain | same_circuit | same_functions | improved. about: what the number is of (a group's letter, a
    circuit; `gain` for a difference of accuracies). answer: yes, no, in part, not shown, cannot tell, carries none,
    left out, empty, or nothing for a number that answers nothing by itself. p: of a headline answer, corrected for
    the others of its question. published: the paper's value of the same number. source: the table it comes from."""

    question: str
    model: str
    about: str
    sentence: str
    answer: str = ""
    number: Estimate = UNKNOWN
    published: float = np.nan
    source: str = ""
    p: float = np.nan

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


@dataclass(frozen=True)
class Corrected:
    """p: of one headline answer, after Holm's correction over the `tests` of its question."""

    p: float
    tests: int

    def holds(self, alpha: float) -> bool:
        """Whether the answer stands."""
        return bool(self.p < alpha)

    @property
    def words(self) -> str:
        """For an answer that its interval alone would give."""
        return f"the interval alone would show it, but not after correcting for {self.tests} tests"


def corrected(p_values: Mapping[Key, float]) -> dict[Key, Corrected]:
    """Every test of a question with its p value corrected for their number."""
    found = holm(list(p_values.values()))
    tests = int((~np.isnan(found)).sum())
    return {key: Corrected(p, tests) for key, p in zip(p_values, found, strict=True)}


def findings_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """One row a finding; `difference` is ours minus the published value."""
    rows = [
        (
            one.question, one.model, one.about, one.answer, *one.number, one.p, one.published,
            one.number.value - one.published, one.source, one.text,
        )
        for one in findings
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
