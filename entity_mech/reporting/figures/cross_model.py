"""What the figures of patching across models share: bars, random draws, the models' own lines."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from entity_mech.reporting.study import Study, in_order
from entity_mech.reporting.style import (
    FAINT,
    PUBLISHED,
    SMALL,
    TINY,
    accuracy_axis,
    points,
    short_name,
    whiskers,
)
from entity_mech.reporting.tables import is_true

DRAW: dict[str, Any] = {"marker": ".", "ms": 3.5, "mfc": FAINT, "mec": "white", "mew": 0.3}
Draws = dict[Any, list[float]]


def sides(table: pd.DataFrame) -> list[bool]:
    """Which directions are there: True for into the base, False for into the fine-tuned model."""
    return [side for side in (True, False) if (into_base(table) == side).any()]


def into_base(table: pd.DataFrame) -> pd.Series:
    """Whether a row's patched model is the base."""
    return table["target"] == table["base"]


def draw_bars(axes: Axes, rows: pd.DataFrame, draws: Draws, keys: list[str], base: str) -> None:
    """Bars with intervals and random draws, side by side where heads of two circuits were patched.

    rows: one panel's, with columns `x` (the place of the bars) and `color`. keys: columns that name a bar.
    """
    circuits = in_order(rows["circuit"].unique(), [str(rows["model"].iloc[0]), base])
    width = 0.8 / len(circuits)
    for side, circuit in enumerate(circuits):
        own = rows[rows["circuit"] == circuit]
        empty = own[own["n_heads"] == 0]
        for x in empty["x"] + (side - (len(circuits) - 1) / 2) * width:
            axes.text(x, 0.04, "no heads", rotation=90, ha="center", fontsize=points(TINY), color=FAINT)
        own = own[own["n_heads"] > 0]
        at = own["x"] + (side - (len(circuits) - 1) / 2) * width
        hatched = circuit == base
        colors = list(own["color"])
        style: dict[str, Any] = {"color": "white", "hatch": "////"} if hatched else {"color": colors}
        axes.bar(at, own["accuracy"], width=width * 0.9, lw=0.8, edgecolor=colors, **style)
        error = whiskers(own["accuracy"], own["low"], own["high"])
        axes.errorbar(at, own["accuracy"], yerr=error, color="black", lw=0.8, ls="none")
        found = [draws.get(tuple(key), []) for key in own[["donor", "target", "circuit", *keys]].to_numpy()]
        places = [x for x, values in zip(at, found, strict=True) for _ in values]
        axes.plot(places, [value for values in found for value in values], ls="none", zorder=5, **DRAW)
        axes.plot(at, own["published"], **PUBLISHED)
        for x in at[is_true(own["fallback"])]:
            dark = "black" if hatched else "white"
            axes.text(x, 0.03, "*", ha="center", fontsize=points(SMALL), color=dark, zorder=7)


def random_draws(results: pd.DataFrame, keys: list[str]) -> Draws:
    """Accuracies of the random draws, by donor, target, circuit and the given columns."""
    drawn = results[results["kind"] == "random"].groupby(["donor", "target", "circuit", *keys])["accuracy"]
    return {key: list(values) for key, values in drawn}


def finish(axes: Axes, study: Study, one: pd.Series) -> None:
    """The two models' own accuracies as lines, the axis, and who is patched into whom."""
    for model, value, style in (
        (one["target"], one["target_accuracy"], "-"),
        (one["donor"], one["donor_accuracy"], "--"),
    ):
        axes.axhline(value, color=study.model_color(model), ls=style, lw=1.1, zorder=3)
    accuracy_axis(axes, "y", "")
    axes.set_title(f"{short_name(study.label(one['donor']))} → {short_name(study.label(one['target']))}")


def shared_handles(table: pd.DataFrame) -> list[Patch | Line2D]:
    """Legend entries."""
    handles: list[Patch | Line2D] = [Patch(fc=FAINT, ec=FAINT, label="the fine-tuned model's heads")]
    if (table["circuit"] == table["base"]).any():
        handles.append(Patch(fc="white", ec=FAINT, hatch="////", label="the base's heads"))
    if table["random_draws"].notna().any():
        handles.append(Line2D([], [], ls="none", label="as many random heads, a draw", **DRAW))
    handles.append(Line2D([], [], color=FAINT, label="patched model by itself"))
    handles.append(Line2D([], [], color=FAINT, ls="--", label="donor by itself"))
    if is_true(table["fallback"]).any():
        star = Line2D([], [], marker="*", color="black", ls="none", label="no head chosen: the whole group")
        handles.append(star)
    if table["published"].notna().any():
        handles.append(Line2D([], [], **PUBLISHED, label="published"))
    return handles
