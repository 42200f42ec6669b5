"""How alike the circuits and score maps of every two models are.

Inputs:
- overlap: circuit_1, circuit_2, group (or whole_circuit), letter (empty for the whole), heads_1, heads_2, shared,
  jaccard, chance_jaccard and the rest of `methods.overlap.OVERLAP_COLUMNS`.
- correlation: model_1, model_2, search, letter, heads, spearman.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from entity_mech.methods.part_names import WHOLE
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import (
    FAINT,
    PUBLISHED,
    TINY,
    Drawing,
    legend_below,
    new_figure,
    points,
    short_name,
    styled,
)
from entity_mech.reporting.tables import overlap_table

WHOLE_COLOR = "#999999"


def overlap(study: Study, circuits: pd.DataFrame, correlation: pd.DataFrame) -> Drawing:
    """A row a pair of models, a column a group and the whole circuit."""
    table = overlap_table(study, circuits, correlation)
    pairs = list(dict.fromkeys(zip(table["circuit_1"], table["circuit_2"], strict=True)))
    columns = [*(group.name for group in study.by_letter), WHOLE]
    with styled(study):
        width = 16
        figure = new_figure(7.0, 1.0 + 0.2 * len(pairs))
        panels = figure.subplots(1, len(columns), sharey=True)
        for axes, column in zip(panels, columns, strict=True):
            _panel(axes, study, table[table["group"] == column], pairs, column)
        names = [f"{short_name(study.label(a), width)} · {short_name(study.label(b), width)}" for a, b in pairs]
        panels[0].set_yticks(range(len(pairs)), names, fontsize=points(TINY))
        panels[0].tick_params(axis="y", length=0)
        handles: list[Patch | Line2D] = [
            Patch(fc=FAINT, label="Jaccard: shared, of the heads in either"),
            Line2D([], [], color="black", marker="|", ls="none", ms=7, label="by chance"),
            Line2D([], [], color="black", marker="o", mfc="white", ls="none", ms=4, label="Spearman of the scores"),
        ]
        if table["published"].notna().any():
            handles.append(Line2D([], [], **PUBLISHED, label="published"))
        legend_below(figure, handles)
    return Drawing(figure, table)


def _panel(axes: Axes, study: Study, rows: pd.DataFrame, pairs: list[tuple[str, str]], column: str) -> None:
    whole = column == WHOLE
    color = WHOLE_COLOR if whole else study.group_color(column)
    for place, pair in enumerate(pairs):
        own = rows[(rows["circuit_1"] == pair[0]) & (rows["circuit_2"] == pair[1])]
        if own.empty:
            continue
        one = own.iloc[0]
        empty = pd.isna(one["jaccard"])
        if not empty:
            axes.barh(place, one["jaccard"], height=0.62, color=color)
            axes.plot([one["chance_jaccard"]] * 2, [place - 0.36, place + 0.36], color="black", lw=1.1)
        axes.plot([one["spearman"]], [place], "o", mfc="white", mec="black", mew=0.7, ms=3.5)
        axes.plot([one["published"]], [place], **PUBLISHED)
        count = "none" if empty else f"{int(one['shared'])}"
        axes.text(1.42, place, count, ha="right", va="center", fontsize=points(TINY), color=FAINT)
    low = min(0.0, float(rows["spearman"].min()) - 0.05) if rows["spearman"].notna().any() else 0.0
    axes.set_xlim(low, 1.44)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.grid(True, axis="x")
    axes.text(1.42, -0.75, "shared", ha="right", va="bottom", fontsize=points(TINY), color=FAINT)
    axes.set_title("whole" if whole else study.group(column).letter, color="black" if whole else color)
