"""Which tokens' heads are needed, and which are enough, over the words of the prompt.

Input, one below the other over models: model, kind (intact | needed | enough), tokens (a role, or names of roles and
sets joined by +), accuracy, low, high, n.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from entity_mech.reporting.cells import cell, grid_axes
from entity_mech.reporting.figures.circuit_diagram import Words
from entity_mech.reporting.study import Study, in_order
from entity_mech.reporting.style import (
    INK,
    SMALL,
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
from entity_mech.task.roles import SEPARATOR, SETS, own_name
from entity_mech.task.task import Task
from entity_mech.task.wording import slug


def role_map(study: Study, results: pd.DataFrame) -> Drawing:
    """Above: accuracy without heads at one word. Below: accuracy with heads at the marked words alone.

    The words are those of the task's example; its gap stands for the other segments.
    """
    words = study.task.example
    models = in_order(results["model"], study.models)
    sets = list(dict.fromkeys(results.loc[results["kind"] == "enough", "tokens"]))
    with styled(study):
        row = max(0.22, 0.085 * len(models))
        heights = [0.3 * (len(models) + 1), row * len(sets) + 0.2]
        figure = new_figure(7.0, sum(heights) + 1.35)
        panels = figure.subplots(2, 2, width_ratios=[2.4, 1], height_ratios=heights)
        _needed(panels[0, 0], study, results, models, words)
        _intact(panels[0, 1], study, results, models)
        _marks(panels[1, 0], study.task, sets, words)
        _enough(panels[1, 1], study, results, models, sets)
        legend_below(figure, model_handles(study, models, line=False))
    return Drawing(figure, results.reset_index(drop=True))


def _named(axes: Axes, words: Words, top: bool) -> None:
    names = [word if role is not None else "others" for role, word in words]
    axes.set_xticks(range(len(words)), names, fontsize=points(SMALL))
    if top:
        axes.xaxis.set_ticks_position("top")


def _needed(axes: Axes, study: Study, results: pd.DataFrame, models: list[str], words: Words) -> None:
    needed = results[results["kind"] == "needed"]
    known = {
        (row["model"], own_name(str(row["tokens"]))): float(row["accuracy"]) for row in needed.to_dict("records")
    }
    for y, model in enumerate(models):
        for x, (role, _) in enumerate(words):
            value = known.get((model, role or ""))
            if value is not None:
                cell(axes, x, y, value, [f"{value:.2f}"], size=TINY)
    grid_axes(axes, len(words), len(models))
    _named(axes, words, top=True)
    axes.set_yticks(range(len(models)), [short_name(study.label(model), 20) for model in models])
    axes.tick_params(length=0)
    axes.set_title("needed: accuracy without heads there", pad=17)


def _intact(axes: Axes, study: Study, results: pd.DataFrame, models: list[str]) -> None:
    intact = results[results["kind"] == "intact"].set_index("model")["accuracy"]
    for y, model in enumerate(models):
        value = float(intact.get(model, float("nan")))
        axes.barh(y, value, height=0.6, color=study.model_color(model))
        axes.text(value + 0.03, y, f"{value:.2f}", va="center", fontsize=points(TINY))
    axes.set_ylim(len(models) - 0.48, -0.52)
    axes.set_yticks([])
    accuracy_axis(axes, "x", "")
    axes.set_xlim(0, 1.2)
    axes.set_title("whole model")


def members(task: Task, names: str) -> tuple[set[str], list[str]]:
    """Roles that a set of tokens holds, and which tokens of the other segments (`all` for every one)."""
    several = {"segment": task.segment_roles, "query": task.query_roles, "everything": task.roles[1:]}
    roles: set[str] = set()
    others: list[str] = []
    for name in names.split("+"):
        if name in SETS:
            others.append(_plural(task, SETS[name]))
            continue
        roles |= set(several.get(name, (own_name(name),)))
        if name == "everything":
            others.append("all")
    return roles, others


def _plural(task: Task, role: str) -> str:
    """`commas` for a separator that is a comma, `labels` for labels."""
    return f"{slug(task.separator)}s".replace("_", " ") if role == SEPARATOR and task.separator else f"{role}s"


def _marks(axes: Axes, task: Task, sets: Sequence[str], words: Words) -> None:
    for y, names in enumerate(sets):
        roles, others = members(task, names)
        axes.plot([-0.5, len(words) - 0.5], [y, y], color="#EEEEEE", lw=0.6, zorder=0)
        for x, (role, _) in enumerate(words):
            if role in roles:
                axes.plot([x], [y], "s", color=INK, ms=5)
            elif role is None and others:
                axes.text(x, y, ", ".join(others), ha="center", va="center", fontsize=points(TINY), color=INK)
    grid_axes(axes, len(words), len(sets))
    _named(axes, words, top=False)
    axes.set_yticks([])
    axes.set_title("enough: heads at these words alone")


def _enough(axes: Axes, study: Study, results: pd.DataFrame, models: list[str], sets: Sequence[str]) -> None:
    enough = results[results["kind"] == "enough"]
    for i, model in enumerate(models):
        own = enough[enough["model"] == model].set_index("tokens").reindex(list(sets))
        y = [place + 0.7 * ((i + 0.5) / len(models) - 0.5) for place in range(len(sets))]
        error = whiskers(own["accuracy"], own["low"], own["high"])
        color, marker = study.model_color(model), study.model_marker(model)
        axes.errorbar(own["accuracy"], y, xerr=error, ls="none", color=color, marker=marker, elinewidth=0.7)
    axes.set_ylim(len(sets) - 0.48, -0.52)
    axes.set_yticks([])
    for edge in range(1, len(sets)):
        axes.axhline(edge - 0.5, color="#EEEEEE", lw=0.6)
    accuracy_axis(axes, "x", "accuracy")
