"""Accuracy when attention from one token to another is blocked.

Input, one below the other over models: model, source, target (a token role, or random), layer (the first blocked one,
from 0; the number of layers: nothing is blocked), accuracy, low, high, n.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from entity_mech.reporting.published import beside
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

RANDOM = "random"


def knockout(study: Study, results: pd.DataFrame) -> Drawing:
    """One panel a pair of tokens; dotted, a random token in the target's place."""
    table = beside(study, results, "knockout", ["model", "source", "target", "layer"])
    models = in_order(table["model"], study.models)
    pairs = [
        (source, target)
        for source, target in dict.fromkeys(zip(table["source"], table["target"], strict=True))
        if target != RANDOM
    ]
    with styled(study):
        figure = new_figure(7.0, 2.5 + 0.06 * len(models))
        panels = figure.subplots(1, len(pairs), sharey=True, squeeze=False)[0]
        for axes, (source, target) in zip(panels, pairs, strict=True):
            rows = table[(table["source"] == source) & table["target"].isin([target, RANDOM])]
            for model in models:
                _lines(axes, study, rows[rows["model"] == model], target)
            axes.set_title(f"{source.replace('_', ' ')} → {target.replace('_', ' ')}")
            axes.set_xlabel("first blocked layer")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            accuracy_axis(axes, "y", "")
        panels[0].set_ylabel("accuracy")
        handles = model_handles(study, models)
        handles.append(Line2D([], [], color=FAINT, ls=":", label="to a random token instead"))
        if table["published"].notna().any():
            handles.append(Line2D([], [], color="black", marker="d", mfc="white", lw=0.7, label="published"))
        legend_below(figure, handles)
    return Drawing(figure, table)


def _lines(axes: Axes, study: Study, rows: pd.DataFrame, target: str) -> None:
    for which in (RANDOM, target):
        own = rows[rows["target"] == which].sort_values("layer")
        if own.empty:
            continue
        model = str(own["model"].iloc[0])
        color = study.model_color(model)
        if which == RANDOM:
            axes.plot(own["layer"], own["accuracy"], color=color, ls=":", lw=0.9)
            continue
        every = max(1, len(own) // 6)
        axes.fill_between(own["layer"], own["low"], own["high"], color=color, alpha=0.12, lw=0)
        axes.plot(own["layer"], own["accuracy"], color=color, marker=study.model_marker(model), markevery=every)
        axes.plot(
            own["layer"], own["published"], color="black", lw=0.7, marker="d", mfc="white", ms=4, markevery=every
        )
