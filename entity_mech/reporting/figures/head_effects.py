"""The causal effect of every candidate head, group by group, with the heads that pruning took away in grey.

Input: a model's rows of tables/circuits.csv: search, letter, token, layer, head, score, kept.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from entity_mech.reporting.study import Group, Study
from entity_mech.reporting.style import FAINT, TINY, Drawing, legend_below, new_figure, points, styled
from entity_mech.reporting.tables import is_true

PRUNED = "#c4c4c4"
NAMED = 32  # heads of a group whose names still fit below their bars


def head_effects(study: Study, circuit: pd.DataFrame) -> Drawing:
    """A panel for each group with candidates: bars of path-patching scores, the strongest head first."""
    table = circuit.sort_values(["letter", "score", "layer", "head"]).reset_index(drop=True)
    groups = [group for group in study.by_letter if group.name in set(table["search"])]
    with styled(study):
        figure = new_figure(6.6, 0.6 + 1.25 * max(1, len(groups)))
        panels = figure.subplots(max(1, len(groups)), 1, squeeze=False)[:, 0]
        if not groups:
            panels[0].set_axis_off()
            panels[0].text(0.5, 0.5, "no search found a head", ha="center", va="center", color=FAINT)
        for axes, group in zip(panels, groups, strict=False):
            _bars(axes, study, group, table[table["search"] == group.name])
        if groups:
            kept = Patch(fc=FAINT, label="kept in the circuit (in its group's colour)")
            legend_below(figure, [kept, Patch(fc=PRUNED, label="pruned away")])
    return Drawing(figure, table)


def _bars(axes: Axes, study: Study, group: Group, own: pd.DataFrame) -> None:
    kept = is_true(own["kept"])
    colors = [study.group_color(group.name) if one else PRUNED for one in kept]
    axes.bar(range(len(own)), 100 * own["score"], color=colors, width=0.8)
    axes.axhline(0, color=FAINT, lw=0.6)
    axes.set_xlim(-0.7, max(len(own), 8) - 0.3)
    if len(own) <= NAMED:
        names = [f"{layer}.{head}" for layer, head in zip(own["layer"], own["head"], strict=True)]
        axes.set_xticks(range(len(own)), names, rotation=90 if len(own) > 16 else 0, fontsize=points(TINY))
        axes.tick_params(axis="x", length=0)
    else:
        axes.set_xlabel("rank of the head")
    axes.set_ylabel("change of p, %")
    title = f"{group.title}: {int(kept.sum())} of {len(own)} kept"
    axes.set_title(title, color=study.group_color(group.name))
