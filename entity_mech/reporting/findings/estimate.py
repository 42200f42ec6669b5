"""Numbers in words: shares and differences of shares with their 95% intervals, and intervals of differences.

The interval of a difference that is not computed prompt by prompt is put together from the two intervals (MOVER, Zou
and Donner 2008): right for independent estimates, and too wide for two over the same prompts. It may hide a
difference but does not invent one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

UNDEFINED = "undefined"


class Estimate(NamedTuple):
    """A share, or a difference of two, and its 95% interval; NaN where unknown. As text: `70% [66%, 73%]`."""

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
            return UNDEFINED
        return percent(self.value) + (f" [{percent(self.low)}, {percent(self.high)}]" if self.known else "")

    def points(self) -> str:
        """A difference with its sign: `+21 points [+17, +25]`."""
        return _points(self, "+")

    def size(self, unit: str = "") -> str:
        """A difference without its sign, for a sentence that says which is larger: `21 points [17, 25]`.

        unit: `%` in place of points.
        """
        turned = Estimate(-self.value, -self.high, -self.low) if self.value < 0 else self
        return _points(turned, "", unit)


UNKNOWN = Estimate(np.nan)


def percent(share: float) -> str:
    """`70%`; `undefined` for NaN."""
    return UNDEFINED if np.isnan(share) else f"{_rounded(100 * share, 0, '')}%"


def _points(difference: Estimate, sign: str, unit: str = "") -> str:
    if np.isnan(difference.value):
        return UNDEFINED
    numbers = [100 * number for number in difference if not np.isnan(number)]
    digits = 1 if any(0 < abs(number) < 1 for number in numbers) else 0
    value, *ends = (_rounded(number, digits, sign) for number in numbers)
    if unit:
        value, ends = f"{value}{unit}", [f"{end}{unit}" for end in ends]
    else:
        value += " point" if value.lstrip("+-") == "1" else " points"
    return value + (f" [{', '.join(ends)}]" if difference.known else "")


def _rounded(number: float, digits: int, sign: str) -> str:
    """A number without the sign of a rounded 0."""
    rounded = round(number, digits)
    return f"{rounded:{sign}.{digits}f}" if rounded else f"{0:.{digits}f}"


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
