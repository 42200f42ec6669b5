"""What each group of heads carries (desiderata-based component masking).

Inputs, one below the other over models:
- dcm/{model}.csv: model, circuit, group, letter, desideratum, n_heads, group_size, accuracy, low, high,
  none_accuracy, all_accuracy, n. A group without heads has no accuracy.
- dcm/{model}_curves.csv with a column `model` put in front: model, group, desideratum, epoch, step, loss,
  validation_accuracy, heads. Steps count from 0 in every epoch; a step that was not validated has no
  validation_accuracy. The figure's table has `steps`, counted over epochs.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from entity_mech.reporting.published import beside
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
    short_name,
    styled,
    whiskers,
)
from entity_mech.task.pair_kinds import DESIDERATA, in_words


def dcm(study: Study, results: pd.DataFrame) -> Drawing:
    """Accuracy of the chosen heads of each model's own circuit, groups down, desiderata across."""
    table = beside(study, results[results["model"] == results["circuit"]], "dcm", ["model", "letter", "desideratum"])
    models = in_order(table["model"], study.models)
    desiderata = in_order(table["desideratum"], DESIDERATA)
    groups = [group for group in study.by_letter if group.name in set(table["group"])]
    with styled(study):
        figure = new_figure(7.0, 0.9 + len(groups) * (0.33 + 0.17 * len(models)))
        panels = figure.subplots(len(groups), len(desiderata), sharex=True, sharey=True, squeeze=False)
        for row, group in zip(panels, groups, strict=True):
            for axes, desideratum in zip(row, desiderata, strict=True):
                part = table[(table["group"] == group.name) & (table["desideratum"] == desideratum)]
                _panel(axes, study, part, models)
                axes.set_title(f"{group.letter} {in_words(desideratum)}", color=study.group_color(group.name))
            row[0].set_yticks(range(len(models)), [short_name(study.label(model)) for model in models])
            row[0].tick_params(axis="y", length=0)
        for axes in panels[-1]:
            axes.set_xlabel("accuracy")
        tick: dict[str, Any] = {"marker": "|", "ls": "none", "ms": 8, "mew": 1.2}
        handles = [
            Line2D([], [], color=FAINT, label="no head patched", **tick),
            Line2D([], [], color="black", label="every head of the group patched", **tick),
            Line2D([], [], ls="none", label="k of n: heads chosen, of the group's"),
            Line2D([], [], ls="none", label="(k of n): these are not shown to do anything"),
        ]
        if table["published"].notna().any():
            handles.append(Line2D([], [], **PUBLISHED, label="published"))
        legend_below(figure, handles)
    return Drawing(figure, table.reset_index(drop=True))


def _panel(axes: Axes, study: Study, part: pd.DataFrame, models: list[str]) -> None:
    for place, model in enumerate(models):
        own = part[part["model"] == model]
        if own.empty or not own["group_size"].iloc[0] or own["accuracy"].isna().all():
            axes.text(0.01, place, "no heads", va="center", fontsize=points(TINY), color=FAINT)
            continue
        one = own.iloc[0]
        axes.barh(place, one["accuracy"], height=0.7, color=study.model_color(model))
        error = whiskers(own["accuracy"], own["low"], own["high"])
        axes.errorbar(own["accuracy"], [place], xerr=error, color="black", lw=0.8)
        for column, color in (("none_accuracy", FAINT), ("all_accuracy", "black")):
            axes.plot([one[column]] * 2, [place - 0.42, place + 0.42], color=color, lw=1.2)
        axes.plot([one["published"]], [place], **PUBLISHED)
        chosen = f"{int(one['n_heads'])} of {int(one['group_size'])}"
        if one["n_heads"] and not one["gain_low"] > 0:
            chosen = f"({chosen})"
        axes.text(1.26, place, chosen, ha="right", va="center", fontsize=points(TINY), color=FAINT)
    axes.set_ylim(len(models) - 0.4, -0.6)
    accuracy_axis(axes, "x", "")
    axes.set_xlim(0, 1.27)


def dcm_curves(study: Study, curves: pd.DataFrame) -> Drawing:
    """Validation accuracy (above) and loss (below) against the training step, one column a group."""
    curves = curves.sort_values(["epoch", "step"], kind="stable")
    curves["steps"] = curves.groupby(["model", "group", "desideratum"]).cumcount()
    curves = curves.sort_values(["model", "group", "desideratum", "steps"])
    models = in_order(curves["model"], study.models)
    desiderata = in_order(curves["desideratum"], DESIDERATA)
    groups = [group for group in study.by_letter if group.name in set(curves["group"])]
    kinds = [("validation_accuracy", "validation accuracy"), ("loss", "training loss (logits)")]
    with styled(study):
        figure = new_figure(7.0, 0.7 + 1.05 * len(desiderata) * 2)
        panels = figure.subplots(len(desiderata) * 2, len(groups), sharex=True, sharey="row", squeeze=False)
        for block, (column, label) in enumerate(kinds):
            for place, desideratum in enumerate(desiderata):
                row = panels[block * len(desiderata) + place]
                for axes, group in zip(row, groups, strict=True):
                    part = curves[(curves["group"] == group.name) & (curves["desideratum"] == desideratum)]
                    _curves(axes, study, part.dropna(subset=[column]), column, models)
                    axes.set_title(f"{group.letter} {in_words(desideratum)}", color=study.group_color(group.name))
                    if column == "validation_accuracy":
                        accuracy_axis(axes, "y", "")
                if place == (len(desiderata) - 1) // 2:
                    row[0].set_ylabel(label)
        for axes in panels[-1]:
            axes.set_xlabel("training step")
        legend_below(figure, model_handles(study, models))
    return Drawing(figure, curves.reset_index(drop=True))


def _curves(axes: Axes, study: Study, part: pd.DataFrame, column: str, models: list[str]) -> None:
    for model in models:
        own = part[part["model"] == model].sort_values("steps")
        every = max(1, len(own) // 8)
        look: dict[str, Any] = {
            "color": study.model_color(model),
            "marker": study.model_marker(model),
            "ms": 2.5,
            "lw": 0.9,
        }
        axes.plot(own["steps"], own[column], markevery=every, **look)
    axes.grid(True, axis="y")
    axes.margins(x=0.03)
