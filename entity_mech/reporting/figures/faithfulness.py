"""Every circuit on every model.

Input, all faithfulness/{model}/{circuit}.csv one below the other: model, circuit, kind (model | circuit |
ceiling | random), draw, heads, accuracy, accuracy_low, accuracy_high, faithfulness, faithfulness_low,
faithfulness_high, recall and agreement with theirs, random_below, n; circuit_by_{other means} and ceiling_by_{other
means} are kinds too.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from entity_mech.reporting.cells import cell, grid_axes, interval, number
from entity_mech.reporting.study import Study, in_order
from entity_mech.reporting.style import (
    FAINT,
    SMALL,
    Drawing,
    new_figure,
    points,
    styled,
    wrap_name,
)
from entity_mech.reporting.tables import faithfulness_table

GAP = 0.25  # between the circuits and the reference rows


def faithfulness(study: Study, results: pd.DataFrame) -> Drawing:
    """The circuit-by-model matrix, with the ceiling of the roles below."""
    table = faithfulness_table(study, results)
    circuits = in_order(table["circuit"], study.models)
    models = in_order(table["model"], study.models)
    cells = {(row["circuit"], row["model"]): row for _, row in table.iterrows()}
    with styled(study):
        n_lines = 5 + table["published_faithfulness"].notna().any() + table["other_means"].ne("").any()
        height = 0.11 + 0.125 * n_lines
        figure = new_figure(1.9 + 0.9 * len(models), 1.1 + height * (len(circuits) + 1.3))
        axes = figure.subplots()
        for column, model in enumerate(models):
            for row, circuit in enumerate(circuits):
                if (circuit, model) in cells:
                    one = cells[circuit, model]
                    cell(axes, column, row, one["faithfulness"], _lines(one), framed=circuit == model)
            ceiling = table[(table["model"] == model) & table["ceiling_faithfulness"].notna()]
            if len(ceiling):
                one = ceiling.iloc[0]
                ends = interval(one["ceiling_faithfulness_low"], one["ceiling_faithfulness_high"])
                value = one["ceiling_faithfulness"]
                cell(axes, column, len(circuits) + GAP, value, [number(value), ends])
        _frame(axes, study, table, circuits, models)
    return Drawing(figure, table)


def _lines(one: pd.Series) -> list[str]:
    lines = [number(one["faithfulness"]), interval(one["faithfulness_low"], one["faithfulness_high"])]
    lines += [f"keeps {number(one['recall'])}", f"agrees {number(one['agreement'])}"]
    if one["other_means"]:
        lines.append(f"by {one['other_means']} {number(one['other_faithfulness'])}")
    if one["random_draws"]:
        lines.append(f"random {number(one['random_faithfulness'])}")
    if pd.notna(one["published_faithfulness"]):
        lines.append(f"published {one['published_faithfulness']:.2f}")
    return lines


def _frame(axes: Axes, study: Study, table: pd.DataFrame, circuits: list[str], models: list[str]) -> None:
    heads = table.drop_duplicates("circuit").set_index("circuit")["heads"]
    names = [f"{wrap_name(study.label(circuit), 16)}\n{int(heads[circuit])} heads" for circuit in circuits]
    ticks: list[float] = list(range(len(circuits)))
    if table["ceiling_faithfulness"].notna().any():
        names.append("all heads at the\nchain's tokens")
        ticks.append(len(circuits) + GAP)
    accuracies = table.drop_duplicates("model").set_index("model")["model_accuracy"]
    axes.set_yticks(ticks, names)
    labels = [f"{wrap_name(study.label(model), 13)}\n({accuracies[model]:.2f})" for model in models]
    axes.set_xticks(range(len(models)), labels)
    axes.xaxis.set_ticks_position("top")
    axes.xaxis.set_label_position("top")
    grid_axes(axes, len(models), max(ticks) + 1)
    axes.set_xlabel("model (accuracy of the whole model)")
    axes.set_ylabel("circuit of")
    style: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": points(SMALL), "color": FAINT}
    axes.text(1, -0.02, "framed: a model's own circuit", transform=axes.transAxes, **style)
