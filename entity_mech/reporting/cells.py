"""Cells of a table drawn as a figure: a colour for a share from 0 to 1, and numbers in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from entity_mech.reporting.style import INK, TINY, Real, points

Color = tuple[float, float, float, float]


def shade(value: float) -> Color:
    """Light blue for 0, stronger towards 1, so that dark text stays readable; grey where it is undefined."""
    return colormaps["Blues"](0.55 * float(np.clip(value, 0, 1))) if pd.notna(value) else to_rgba("#EEEEEE")


def cell(
    axes: Axes, x: Real, y: Real, value: float, lines: Sequence[str], size: float = 1.0, framed: bool = False
) -> None:
    """A unit square with lines of text, the first one larger. size: of the first line, in text sizes."""
    axes.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, fc=shade(value), ec="none"))
    step = 0.9 / (len(lines) + 0.6)
    for i, line in enumerate(lines):
        at = y + (i - (len(lines) - 1) / 2) * step
        first = i == 0 and len(lines) > 1
        look: dict[str, Any] = {
            "fontsize": points(size if i == 0 else TINY),
            "fontweight": "bold" if first else "normal",
        }
        axes.text(x, at, line, ha="center", va="center", **look)
    if framed:
        axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, fill=False, ec=INK, lw=1.3, zorder=4))


def grid_axes(axes: Axes, n_columns: int, n_rows: Real) -> None:
    """Limits for cells at 0, 1, ... with the first row on top, without frame and ticks."""
    axes.set_xlim(-0.52, n_columns - 0.48)
    axes.set_ylim(n_rows - 0.48, -0.52)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def number(value: float) -> str:
    """Two decimals, or `undefined`."""
    return f"{value:.2f}" if pd.notna(value) else "undefined"


def interval(low: float, high: float) -> str:
    """`[low, high]`, or `no interval`."""
    return f"[{low:.2f}, {high:.2f}]" if pd.notna(low) and pd.notna(high) else "no interval"
