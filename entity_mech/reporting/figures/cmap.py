"""What fine-tuning improved (cross-model activation patching).

Input, all cmap/{base}__{model}.csv one below the other: base, model, donor, target, circuit (whose heads), part
(a group's letter | full | whole_circuit), way (outputs | direct), kind (chosen | random | own), draw, n_heads,
fallback, accuracy, low, high, n. Rows of kind `own` give a model's own accuracy: target = that model.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from entity_mech.methods.part_names import DIRECT, OUTPUTS, UNION, WHOLE
from entity_mech.reporting.figures.cross_model import (
    Draws,
    draw_bars,
    finish,
    into_base,
    random_draws,
    shared_handles,
    sides,
)
from entity_mech.reporting.study import Study, in_order
from entity_mech.reporting.style import Drawing, legend_below, new_figure, styled
from entity_mech.reporting.tables import cmap_table

COLORS = {UNION: "#333333", WHOLE: "#999999"}
WAYS = {OUTPUTS: "outputs", DIRECT: "own weights"}
NAMES = {UNION: "union", WHOLE: "whole\ncircuit"}


def cmap(study: Study, results: pd.DataFrame) -> Drawing:
    """Two rows of panels a fine-tuned model, outputs above and own weights below; into the base on the left."""
    table = cmap_table(study, results)
    models = in_order(table["model"], study.fine_tuned)
    directions, draws = sides(table), random_draws(results, ["part", "way"])
    shown = [(model, way) for model in models for way in WAYS]
    with styled(study):
        figure = new_figure(7.0 if len(directions) > 1 else 4.2, 0.85 + 1.45 * len(shown))
        panels = figure.subplots(len(shown), len(directions), sharey=True, squeeze=False)
        for row, (model, way) in zip(panels, shown, strict=True):
            for axes, side in zip(row, directions, strict=True):
                part = table[(table["model"] == model) & (table["way"] == way) & (into_base(table) == side)]
                axes.set_visible(not part.empty)
                if not part.empty:
                    _panel(axes, study, part, draws)
            row[0].set_ylabel(f"{WAYS[way]}\naccuracy")
        legend_below(figure, shared_handles(table), columns=3)
    return Drawing(figure, table)


def _panel(axes: Axes, study: Study, rows: pd.DataFrame, draws: Draws) -> None:
    parts = in_order(rows["part"], [*study.letters, UNION, WHOLE])
    colors: dict[str, Any] = {part: COLORS.get(part) or study.group_color(part) for part in parts}
    placed = rows.assign(x=rows["part"].map(parts.index), color=rows["part"].map(colors))
    draw_bars(axes, placed, draws, ["part", "way"], study.base)
    axes.set_xticks(range(len(parts)), [NAMES.get(part, part) for part in parts])
    finish(axes, study, rows.iloc[0])
