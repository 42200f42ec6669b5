"""One finding: a number with its interval, what it answers, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from entity_mech.reporting.estimates import UNKNOWN, Estimate

Tables = Mapping[str, pd.DataFrame]
YES, NO, PARTLY, NOT_SHOWN, LEFT_OUT = "yes", "no", "in part", "not shown", "left out"
COLUMNS = [
    "question", "model", "about", "answer", "value", "low", "high", "published", "difference", "source", "sentence",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """question: gain | same_circuit | same_functions | improved. about: what the number is of (a group's letter, a
    circuit). answer: yes, no, in part, not shown, left out, or empty for a number that answers nothing by itself.
    published: the paper's value of the same number. source: the table it comes from."""

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
        beside = f"published {self.published:.2f}"
        if not np.isnan(self.number.value):
            beside += f", difference {self.number.value - self.published:+.2f}"
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


def first(table: pd.DataFrame, **wanted: object) -> pd.Series | None:
    """The first row with these values, or None."""
    for name, value in wanted.items():
        table = table[table[name] == value]
    return None if table.empty else table.iloc[0]
