"""Many tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979), in the same order.

    Under a level after this, the chance that any true null among them is given up is at most that level. NaN is no
    test: it is not counted and stays NaN.
    """
    given = np.asarray(p_values, dtype=np.float64)
    found = np.full(len(given), np.nan)
    order = [i for i in np.argsort(given, kind="stable") if not np.isnan(given[i])]
    least = 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * given[i]))
        found[i] = least
    return [float(p) for p in found]
