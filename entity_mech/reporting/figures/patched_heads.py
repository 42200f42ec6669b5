"""Heads that carry something, patched on fresh pairs: every circuit's heads in every model; and position probes.

Input, one below the other over models: model, circuit, group, letter, desideratum (whose heads are patched), pairs
(the desideratum itself, or a position probe), n_heads, accuracy, low, high, sd_resamples, none_accuracy, n,
resamples. For the probes also the masks trained on them, a table like dcm's with the probe as `desideratum`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from entity_mech.reporting.cells import cell, grid_axes
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

PLAIN = "position"
OWN, BASES, TRAINED = "own", "base", "trained"


def patched_heads(study: Study, results: pd.DataFrame) -> Drawing:
    """Circuits down, models across, one such square a group and desideratum."""
    table = results[results["pairs"] == results["desideratum"]]
    table = beside(study, table, "patched_heads", ["circuit", "model", "letter", "desideratum"])
    models = in_order(table["model"], study.models)
    circuits = in_order(table["circuit"], study.models)
    desiderata = in_order(table["desideratum"], DESIDERATA)
    groups = [group for group in study.by_letter if group.name in set(table["group"])]
    square = max(0.25 * len(circuits), 0.8)
    with styled(study):
        figure = new_figure(7.0, len(groups) * (square + 0.3) + 0.9)
        panels = figure.subplots(len(groups), len(desiderata), squeeze=False)
        for row, group in zip(panels, groups, strict=True):
            for axes, desideratum in zip(row, desiderata, strict=True):
                part = table[(table["group"] == group.name) & (table["desideratum"] == desideratum)]
                _square(axes, part, circuits, models)
                axes.set_title(f"{group.letter} {in_words(desideratum)}", color=study.group_color(group.name))
                axes.set_yticks(range(len(circuits)), [""] * len(circuits))
                axes.set_xticks(range(len(models)), [""] * len(models))
            labels = [short_name(study.label(circuit), 16) for circuit in circuits]
            row[0].set_yticklabels(labels, fontsize=points(TINY))
            row[0].set_ylabel("heads of")
        for axes in panels[-1]:
            names = [short_name(study.label(model), 16) for model in models]
            axes.set_xticklabels(names, fontsize=points(TINY), rotation=90)
            axes.set_xlabel("patched in")
    return Drawing(figure, table)


def _square(axes: Axes, part: pd.DataFrame, circuits: list[str], models: list[str]) -> None:
    known = part.set_index(["circuit", "model"])[["accuracy", "n_heads"]].to_dict("index")
    for y, circuit in enumerate(circuits):
        for x, model in enumerate(models):
            one = known.get((circuit, model), {"accuracy": np.nan, "n_heads": 0})
            value = one["accuracy"] if one["n_heads"] else np.nan
            text = [f"{value:.2f}".removeprefix("0")] if pd.notna(value) else []
            cell(axes, x, y, value, text, size=0.7, framed=circuit == model)
    grid_axes(axes, len(models), len(circuits))


def probes_of_tables(study: Study, results: pd.DataFrame, masks: pd.DataFrame) -> Drawing:
    """The probes of the one group that these tables of the run are about."""
    return probes(study, results, str(masks["letter"].iloc[0]), masks)


def probes(study: Study, results: pd.DataFrame, letter: str = "B", masks: pd.DataFrame | None = None) -> Drawing:
    """Accuracy of a group's position heads on pairs with a changed source prompt, own heads and the base's.

    masks: results of masks that were trained on each probe; shown in a third panel.
    """
    table = _probe_table(study, results, letter, masks)
    models = in_order(table["model"], study.models)
    names = list(dict.fromkeys(table["pairs"]))
    names.sort(key=lambda name: name != PLAIN)
    kinds = list(dict.fromkeys(table["heads"]))
    titles = {OWN: "own position heads", BASES: "the base's position heads", TRAINED: "chosen on each probe"}
    with styled(study):
        figure = new_figure(7.0, 0.95 + len(names) * max(0.24, 0.07 * len(models)))
        panels = figure.subplots(1, len(kinds), sharex=True, sharey=True, squeeze=False)[0]
        for axes, kind in zip(panels, kinds, strict=True):
            _dots(axes, study, table[table["heads"] == kind], models, names)
            axes.set_title(titles[kind])
        panels[0].set_yticks(range(len(names)), [_words(name) for name in names])
        panels[0].tick_params(axis="y", length=0)
        handles = model_handles(study, models, line=False)
        handles.append(Line2D([], [], color=FAINT, marker="|", ls="none", ms=7, label="no head patched"))
        if table["published"].notna().any():
            handles.append(Line2D([], [], **PUBLISHED, label="published"))
        legend_below(figure, handles)
    return Drawing(figure, table)


def _probe_table(study: Study, results: pd.DataFrame, letter: str, masks: pd.DataFrame | None) -> pd.DataFrame:
    """Rows of all panels; `heads` says which."""
    keys = ["model", "circuit", "letter", "pairs"]
    patched = results[(results["letter"] == letter) & (results["desideratum"] == PLAIN)]
    own, base = patched["circuit"] == patched["model"], patched["circuit"] == study.base
    parts = [
        beside(study, patched[who].assign(heads=name), "probes", keys) for who, name in ((own, OWN), (base, BASES))
    ]
    if masks is not None:
        trained = masks[(masks["letter"] == letter) & (masks["model"] == masks["circuit"])]
        trained = trained.assign(pairs=trained["desideratum"], heads=TRAINED)
        parts.append(beside(study, trained, "probe_masks", keys))
    columns = [*keys, "heads", "n_heads", "accuracy", "low", "high", "none_accuracy", "n", "published"]
    return pd.concat([part.reindex(columns=columns) for part in parts], ignore_index=True)


def _words(name: str) -> str:
    return "plain position pairs" if name == PLAIN else name.replace("_", " ")


def _dots(axes: Axes, study: Study, part: pd.DataFrame, models: list[str], names: list[str]) -> None:
    for i, model in enumerate(models):
        own = part[part["model"] == model].drop_duplicates("pairs").set_index("pairs").reindex(names)
        y = [place + 0.66 * ((i + 0.5) / len(models) - 0.5) for place in range(len(names))]
        error = whiskers(own["accuracy"], own["low"], own["high"])
        color, marker = study.model_color(model), study.model_marker(model)
        axes.errorbar(own["accuracy"], y, xerr=error, ls="none", color=color, marker=marker, elinewidth=0.7)
        axes.plot(own["none_accuracy"], y, "|", color=FAINT, ms=5)
        axes.plot(own["published"], y, **PUBLISHED)
    for edge in range(1, len(names)):
        axes.axhline(edge - 0.5, color="#EEEEEE", lw=0.6)
    axes.set_ylim(len(names) - 0.5, -0.5)
    accuracy_axis(axes, "x", "accuracy")
