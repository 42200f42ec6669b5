"""Accuracy against the size of the circuit.

Inputs, one below the other over models:
- curve: model, k, heads, share, accuracy, accuracy_low, accuracy_high, faithfulness, faithfulness_low,
  faithfulness_high, n.
- summary: model, area, distance, knee_k, knee_heads, ceiling, n.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from entity_mech.reporting.study import Study, in_order
from entity_mech.reporting.style import (
    FAINT,
    Drawing,
    accuracy_axis,
    legend_below,
    model_handles,
    new_figure,
    styled,
)


def circuit_size(study: Study, curve: pd.DataFrame, summary: pd.DataFrame) -> Drawing:
    """Accuracy and faithfulness of nested circuits, with the knee, the area and the distance from 1."""
    models = in_order(curve["model"], study.models)
    table = curve.merge(summary[["model", "area", "distance", "knee_k", "knee_heads"]], on="model", how="left")
    with styled(study):
        figure = new_figure(7.0, 2.7 + 0.12 * len(models))
        left, right = figure.subplots(1, 2, sharex=True)
        for axes, column in ((left, "accuracy"), (right, "faithfulness")):
            for model in models:
                _curve(axes, study, table[table["model"] == model].sort_values("heads"), column)
            axes.set_xscale("symlog", linthresh=1, linscale=0.4)
            ticks = [t for t in (0, 1, 3, 10, 30, 100, 300, 1000, 3000) if t <= table["heads"].max()]
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.minorticks_off()
            axes.set_xlim(0, table["heads"].max() * 1.15)
            axes.set_xlabel("heads in the circuit")
        accuracy_axis(left, "y", "accuracy of the circuit")
        right.axhline(1, color=FAINT, lw=0.8, ls=":")
        right.grid(True, axis="y")
        right.set_ylim(bottom=0)
        right.set_ylabel("faithfulness")
        about = summary.set_index("model").to_dict("index")
        handles = model_handles(study, models)
        for handle, model in zip(handles, models, strict=True):
            one = about[model]
            text = f"area {one['area']:.2f}, distance {one['distance']:.2f}, knee at {int(one['knee_heads'])}"
            answers = pd.notna(one["area"])
            handle.set_label(f"{study.label(model)}: {text if answers else 'answers no prompt correctly'}")
        legend_below(figure, handles)
    return Drawing(figure, table)


def _curve(axes: Axes, study: Study, own: pd.DataFrame, column: str) -> None:
    color, marker = study.model_color(str(own["model"].iloc[0])), study.model_marker(str(own["model"].iloc[0]))
    axes.fill_between(own["heads"], own[f"{column}_low"], own[f"{column}_high"], color=color, alpha=0.13, lw=0)
    axes.plot(own["heads"], own[column], color=color)
    if column == "accuracy":
        for whole in _whole_accuracy(own):
            axes.plot([0, own["heads"].max()], [whole, whole], color=color, lw=0.8, ls="--")
    knee = own[own["k"] == own["knee_k"]]
    axes.plot(knee["heads"], knee[column], marker=marker, ms=6, mfc=color, mec="white", mew=0.7, ls="none", zorder=5)


def _whole_accuracy(own: pd.DataFrame) -> list[float]:
    """The model's own accuracy, from a circuit's and its faithfulness; none where every circuit answers nothing."""
    if own["faithfulness"].isna().all():  # a share of no right answers
        return [0.0]
    known = own[own["faithfulness"] > 0].tail(1)
    return list(known["accuracy"] / known["faithfulness"])
