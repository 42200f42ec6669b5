"""How well each model tracks entities.

Input, tables/behaviour.csv: model, metric (accuracy | probability | named_accuracy | accuracy_at_index_<i>, i
from 0), value, low, high, n.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from entity_mech.reporting.published import published_accuracy
from entity_mech.reporting.study import Study, in_order
from entity_mech.reporting.style import (
    FAINT,
    PUBLISHED,
    TINY,
    Drawing,
    accuracy_axis,
    legend_below,
    model_handles,
    new_figure,
    points,
    styled,
    whiskers,
    wrap_name,
)

AT_INDEX = "accuracy_at_index_"


def accuracy(study: Study, behaviour: pd.DataFrame) -> Drawing:
    """Accuracy of each model with its interval, and accuracy by the queried segment."""
    models = in_order(behaviour["model"], study.models)
    table = behaviour[behaviour["model"].isin(models)].copy()
    published = published_accuracy(study)
    table["published"] = [
        published.get(model, float("nan")) if metric == "accuracy" else float("nan")
        for model, metric in zip(table["model"], table["metric"], strict=True)
    ]
    with styled(study):
        figure = new_figure(7.0, 1.5 + 0.27 * len(models))
        left, right = figure.subplots(1, 2, width_ratios=[1.1, 1])
        _bars(left, study, table, models)
        _by_index(right, study, table, models)
        chance = Line2D([], [], color=FAINT, ls=":", label=f"chance, 1/{study.boxes}")
        named = Line2D([], [], color="black", marker="|", ls="none", ms=7, label="among the named objects")
        handles = [*model_handles(study, models), named, chance]
        if table["published"].notna().any():
            handles.append(Line2D([], [], **PUBLISHED, label="published"))
        legend_below(figure, handles)
    return Drawing(figure, table.reset_index(drop=True))


def _bars(axes: Axes, study: Study, table: pd.DataFrame, models: list[str]) -> None:
    for row, model in enumerate(models):
        own = table[table["model"] == model].set_index("metric")
        one = own.loc[["accuracy"]]
        value, high = float(one["value"].iloc[0]), float(one["high"].fillna(one["value"]).iloc[0])
        axes.barh(row, value, height=0.62, color=study.model_color(model))
        axes.errorbar(
            one["value"], [row], xerr=whiskers(one["value"], one["low"], one["high"]), color="black", lw=0.9
        )
        axes.plot(one["published"], [row], **PUBLISHED)
        named = float(own["value"].get("named_accuracy", float("nan")))
        axes.plot([named, named], [row - 0.4, row + 0.4], color="black", lw=1)
        right = max(value for value in (high, named, float(one["published"].iloc[0])) if value == value)
        axes.text(right + 0.035, row, f"{value:.2f}", va="center", fontsize=points(TINY))
    axes.axvline(1 / study.boxes, color=FAINT, ls=":", lw=1)
    axes.set_yticks(range(len(models)), [wrap_name(study.label(model), 18) for model in models])
    axes.set_ylim(len(models) - 0.4, -0.6)
    accuracy_axis(axes, "x")
    axes.set_xlim(0, 1.13)
    axes.set_title("all queries")


def _by_index(axes: Axes, study: Study, table: pd.DataFrame, models: list[str]) -> None:
    rows = table[table["metric"].str.startswith(AT_INDEX)]
    for place, model in enumerate(models):
        own = rows[rows["model"] == model]
        index = own["metric"].str.removeprefix(AT_INDEX).astype(int)
        own = own.assign(index=index).sort_values("index")
        shift = 0.3 * ((place + 0.5) / len(models) - 0.5)
        axes.errorbar(
            own["index"] + 1 + shift,
            own["value"],
            yerr=whiskers(own["value"], own["low"], own["high"]),
            color=study.model_color(model),
            marker=study.model_marker(model),
            elinewidth=0.7,
        )
    axes.axhline(1 / study.boxes, color=FAINT, ls=":", lw=1)
    axes.set_xticks(range(1, study.boxes + 1))
    axes.set_xlim(0.6, study.boxes + 0.4)
    axes.set_xlabel("queried segment, counted from the start")
    accuracy_axis(axes, "y")
    axes.set_title("by queried segment")
