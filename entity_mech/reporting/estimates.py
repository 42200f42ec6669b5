"""Numbers in words: values with their intervals, and intervals of differences between two of them.

An interval of a difference that is not computed prompt by prompt is put together from the two intervals (MOVER, Zou
and Donner 2008): it is right for independent estimates and too wide for two over the same prompts, so that what it
shows is shown.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd


class Estimate(NamedTuple):
    """A value and its 95% interval; NaN where unknown."""

    value: float
    low: float = np.nan
    high: float = np.nan

    @property
    def known(self) -> bool:
        """Whether there is a value with an interval."""
        return not bool(np.isnan([self.value, self.low, self.high]).any())

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.known and bool(self.low > 0)

    @property
    def below_zero(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.known and bool(self.high < 0)

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "undefined"
        return f"{self.value:.2f}{self.range()}"

    def range(self) -> str:
        """` [low, high]`, or nothing when there is no interval."""
        return f" [{self.low:.2f}, {self.high:.2f}]" if self.known else ""

    def signed(self) -> str:
        """With a plus or minus sign."""
        if np.isnan(self.value):
            return "undefined"
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]" if self.known else f"{self.value:+.2f}"

    def percent(self) -> str:
        """As a share in percent."""
        if np.isnan(self.value):
            return "undefined"
        ends = f" [{100 * self.low:.0f}%, {100 * self.high:.0f}%]" if self.known else ""
        return f"{100 * self.value:.0f}%{ends}"


UNKNOWN = Estimate(np.nan)


def estimate(row: pd.Series, value: str, low: str = "low", high: str = "high") -> Estimate:
    """The value and interval in three columns of a row."""
    return Estimate(float(row[value]), float(row[low]), float(row[high]))


def minus(a: Estimate, b: Estimate) -> Estimate:
    """a - b with a MOVER interval."""
    value = a.value - b.value
    if not (a.known and b.known):
        return Estimate(value)
    down = np.hypot(a.value - a.low, b.high - b.value)
    up = np.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, value - down, value + up)


def over(a: Estimate, b: float) -> Estimate:
    """a / b for an exact b; undefined for b = 0."""
    if not b:
        return UNKNOWN
    ends = sorted((a.low / b, a.high / b)) if a.known else (np.nan, np.nan)
    return Estimate(a.value / b, *ends)


def listed(words: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
