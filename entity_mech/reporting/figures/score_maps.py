"""Layer-by-head maps of each search beside their null.

Input, models/{model}/path_patching.csv: search, letter, token, layer, head, score, null_score, exact, receiver, n
(one row a search and head); and the model's circuit as `circuit_table` gives it (search, layer, head, kept: every
candidate).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from entity_mech.reporting.study import Study
from entity_mech.reporting.style import SMALL, Drawing, legend_below, new_figure, points, styled
from entity_mech.reporting.tables import is_true, scored_heads

MARKS: dict[str, dict[str, Any]] = {
    "candidate": {"marker": "o", "mfc": "none", "mec": "black"},
    "receiver": {"marker": "s", "mfc": "none", "mec": "black"},
    "kept": {"marker": "o", "mfc": "black", "mec": "black"},
}
MEANING = {
    "candidate": "candidate for the circuit",
    "receiver": "receiver of later searches",
    "kept": "kept in the circuit",
}


def score_maps(study: Study, scores: pd.DataFrame, circuit: pd.DataFrame | None = None) -> Drawing:
    """One row of panels a search: scores on the left, their null on the right, one colour scale for both."""
    table = scored_heads(study, scores, circuit)
    groups = [group for group in study.by_letter if group.name in set(table["search"])]
    n_layers, n_heads = int(table["layer"].max()) + 1, int(table["head"].max()) + 1
    null = bool(table["null_score"].notna().any())
    columns = ["score", "null_score"] if null else ["score"]
    height = float(np.clip(0.08 * n_layers, 1.0, 2.3))
    with styled(study):
        figure = new_figure(6.6 if null else 3.8, len(groups) * (height + 0.5) + 0.5)
        panels = figure.subplots(len(groups), len(columns), squeeze=False)
        size = float(np.clip(72 * min(height / n_layers, 2.4 / n_heads) * 0.62, 1.6, 6.5))
        for row, group in zip(panels, groups, strict=True):
            own = table[table["search"] == group.name]
            limit = float(np.nanmax(own[columns].abs().to_numpy())) or 1.0
            for axes, column in zip(row, columns, strict=True):
                image = _map(axes, own, column, (n_layers, n_heads), limit, study.look.colormap)
            bar = figure.colorbar(image, ax=list(row), aspect=14, pad=0.015, shrink=0.95)
            bar.ax.yaxis.set_major_locator(MaxNLocator(4, symmetric=True))
            bar.set_label("relative change of p", fontsize=points(SMALL))
            bar.outline.set_visible(False)
            _mark(row[0], own, size)
            title = f"{group.title}, at the {group.token.replace('_', ' ')}"
            row[0].set_title(title, color=study.group_color(group.name))
            row[0].set_ylabel("layer")
            if null:
                row[1].set_title("null", fontweight="normal")
                row[1].set_yticklabels([])
                row[1].set_visible(bool(own["null_score"].notna().any()))  # refined searches into heads have none
        for axes in panels[-1]:
            axes.set_xlabel("head")
        known = pd.notna(table["n"].iloc[0])  # a given table may not say
        panels[-1][0].set_xlabel(f"head (n = {int(table['n'].iloc[0])} prompts)" if known else "head")
        names = [name for name in MARKS if is_true(table[name]).any()]
        look: dict[str, Any] = {"ls": "none", "ms": 5, "mew": 0.8}
        handles = [Line2D([], [], label=MEANING[name], **look, **MARKS[name]) for name in names]
        if handles:
            legend_below(figure, handles)
    return Drawing(figure, table)


def _map(axes: Axes, own: pd.DataFrame, column: str, shape: tuple[int, int], limit: float, colormap: str) -> Any:
    grid = np.full(shape, np.nan)
    grid[own["layer"].to_numpy(), own["head"].to_numpy()] = own[column].to_numpy()
    image = axes.imshow(
        grid, cmap=colormap, vmin=-limit, vmax=limit, aspect="auto", origin="lower", interpolation="nearest"
    )
    for axis, n in ((axes.xaxis, shape[1]), (axes.yaxis, shape[0])):
        step = max(1, -(-n // 8))
        axis.set_ticks(range(0, n, step))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return image


def _mark(axes: Axes, own: pd.DataFrame, size: float) -> None:
    halo: list[Any] = [withStroke(linewidth=1.6, foreground="white")]
    for name, scale in (("receiver", 1.45), ("candidate", 0.8), ("kept", 0.8)):
        heads = own[is_true(own[name])]
        (drawn,) = axes.plot(heads["head"], heads["layer"], ls="none", ms=size * scale, mew=0.7, **MARKS[name])
        drawn.set_path_effects(halo)
