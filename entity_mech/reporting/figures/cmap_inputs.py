"""Which input of a group fine-tuning improved.

Inputs:
- all cmap_inputs/{base}__{model}.csv one below the other: base, model, donor, target, circuit, part (a group's
  letter), input (q | k | v | qk | qkv), kind (chosen | random), draw, n_heads, fallback, accuracy, low, high, n.
- tables/behaviour.csv, for the two models' own accuracies.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

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
from entity_mech.reporting.tables import cmap_inputs_table

INPUTS = ("q", "k", "v", "qk", "qkv")


def cmap_inputs(study: Study, results: pd.DataFrame, behaviour: pd.DataFrame) -> Drawing:
    """One row of panels a fine-tuned model, one column a direction; bars by group and input."""
    table = cmap_inputs_table(study, results, behaviour)
    models = in_order(table["model"], study.fine_tuned)
    directions, draws = sides(table), random_draws(results, ["part", "input"])
    with styled(study):
        figure = new_figure(7.0 if len(directions) > 1 else 4.2, 0.9 + 1.35 * len(models))
        panels = figure.subplots(len(models), len(directions), sharey=True, squeeze=False)
        for row, model in zip(panels, models, strict=True):
            for axes, side in zip(row, directions, strict=True):
                part = table[(table["model"] == model) & (into_base(table) == side)]
                axes.set_visible(not part.empty)
                if not part.empty:
                    _panel(axes, study, part, draws)
            row[0].set_ylabel("accuracy")
        groups = [study.group(part) for part in in_order(table["part"], study.letters)]
        colors = [Patch(fc=study.group_color(group.name), label=f"group {group.title}") for group in groups]
        legend_below(figure, [*colors, *shared_handles(table)], columns=3)
    return Drawing(figure, table)


def _panel(axes: Axes, study: Study, rows: pd.DataFrame, draws: Draws) -> None:
    bars = [(part, name) for part in in_order(rows["part"], study.letters) for name in INPUTS]
    bars = [bar for bar in bars if bar in set(zip(rows["part"], rows["input"], strict=True))]
    parts = list(dict.fromkeys(part for part, _ in bars))
    place = {bar: i + 0.8 * parts.index(bar[0]) for i, bar in enumerate(bars)}
    at = [place[bar] for bar in zip(rows["part"], rows["input"], strict=True)]
    placed = rows.assign(x=at, color=rows["part"].map(study.group_color))
    draw_bars(axes, placed, draws, ["part", "input"], study.base)
    axes.set_xticks(list(place.values()), [name for _, name in bars])
    finish(axes, study, rows.iloc[0])
