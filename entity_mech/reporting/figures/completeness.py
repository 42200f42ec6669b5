"""Is anything missing from a circuit?

Input, one below the other over models: model, circuit, kind (nothing | half | group), draw, group, heads,
accuracy_circuit (F(C - K)), accuracy_model (F(M - K)), difference, low, high, incompleteness, n.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from entity_mech.reporting.published import published
from entity_mech.reporting.study import Study, in_order
from entity_mech.reporting.style import (
    FAINT,
    TINY,
    Drawing,
    accuracy_axis,
    legend_below,
    new_figure,
    points,
    short_name,
    styled,
)

COLUMNS = 4


def completeness(study: Study, results: pd.DataFrame) -> Drawing:
    """F(C - K) against F(M - K) for each model's own circuit, one panel a model."""
    table = _with_published(study, results[results["model"] == results["circuit"]])
    models = in_order(table["model"], study.models)
    across = min(COLUMNS, len(models))
    down = -(-len(models) // across)
    with styled(study):
        figure = new_figure(max(4.6, 1.75 * across), (2.1 if across > 2 else 2.4) * down + 0.55)
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, model in zip(panels, models, strict=False):
            _panel(axes, study, table[table["model"] == model])
            axes.set_title(short_name(study.label(model), 20))
        for axes in panels[len(models) :]:
            axes.set_visible(False)
        for place in range(0, len(models), across):
            panels[place].set_ylabel("circuit without K")
        for place in range(max(0, len(models) - across), len(models)):
            panels[place].set_xlabel("model without K")
            panels[place].tick_params(labelbottom=True)
        handles = [
            Line2D([], [], marker="o", ls="none", mfc="none", mec=FAINT, label="a random half of the circuit"),
            *(
                Line2D([], [], marker="s", ls="none", ms=5, color=study.group_color(g.name), label=g.title)
                for g in study.by_letter
                if g.name in set(table["group"])
            ),
            Line2D([], [], marker="*", ls="none", color="black", ms=6, label="nothing removed"),
        ]
        legend_below(figure, handles)
    return Drawing(figure, table)


def _with_published(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    known = published(study, "completeness").set_index(["model", "removed"])["incompleteness"].to_dict()
    letters = {group.name: group.letter for group in study.groups}
    removed = table["group"].map(letters).where(table["kind"] == "group", "random")
    values = [
        known.get((model, what), float("nan")) if kind != "nothing" else float("nan")
        for model, what, kind in zip(table["model"], removed, table["kind"], strict=True)
    ]
    return table.assign(published=values).reset_index(drop=True)


def _panel(axes: Axes, study: Study, own: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=":")
    halves = own[own["kind"] == "half"]
    axes.plot(halves["accuracy_model"], halves["accuracy_circuit"], "o", mfc="none", mec=FAINT, mew=0.7, ms=3.5)
    for row in own[own["kind"] == "group"].to_dict("records"):
        color = study.group_color(str(row["group"]))
        axes.plot([row["accuracy_model"]], [row["accuracy_circuit"]], "s", color=color, ms=5, mec="white", mew=0.5)
    nothing = own[own["kind"] == "nothing"]
    axes.plot(nothing["accuracy_model"], nothing["accuracy_circuit"], "*", color="black", ms=7, mec="white", mew=0.4)
    accuracy_axis(axes, "x", "")
    accuracy_axis(axes, "y", "")
    axes.set_aspect("equal")
    if len(halves):
        text = f"halves: mean gap {halves['incompleteness'].mean():.2f}"
        known = halves["published"].dropna()
        text += f"\npublished {known.iloc[0]:.2f}" if len(known) else ""
        axes.text(0.04, 0.97, text, transform=axes.transAxes, va="top", fontsize=points(TINY), color=FAINT)
