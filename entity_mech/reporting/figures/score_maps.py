"""Layer-by-head maps of each search beside their null.

Input, models/{model}/path_patching.csv: search, letter, token, layer, head, score, null_score, receiver
(one row a search and head); and the model's circuit as `circuit_table` gives it (search, layer, head, kept: every
candidate).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from entity_mech.reporting.study import Study
from entity_mech.reporting.style import SMALL, Drawing, is_true, legend_below, new_figure, points, styled

MARKS: dict[str, dict[str, Any]] = {
    "candidate": {"marker": "o", "mfc": "none", "mec": "black"},
    "receiver": {"marker": "s", "mfc": "none", "mec": "black"},
    "kept": {"marker": "o", "mfc": "black", "mec": "black"},
}
MEANING = {
    "candidate": "candidate for the circuit",
    "receiver": "receiver of later searches",
    "kept": "kept in the circuit",
}


def circuit_table(circuit: Mapping[str, Any]) -> pd.DataFrame:
    """Candidates of a circuit file: search, letter, token, layer, head, score, kept (False: pruned away)."""
    rows = []
    for group in circuit["groups"]:
        kept = {(head["layer"], head["head"]) for head in group["heads"]}
        all_heads = [*group.get("candidates", []), *group["heads"]]
        listed = {(head["layer"], head["head"]): head for head in all_heads}
        for (layer, head), entry in sorted(listed.items()):
            rows.append(
                {
                    "search": group["name"],
                    "letter": group["letter"],
                    "token": group["token"],
                    "layer": layer,
                    "head": head,
                    "score": entry.get("score", float("nan")),
                    "kept": (layer, head) in kept,
                }
            )
    return pd.DataFrame(rows, columns=["search", "letter", "token", "layer", "head", "score", "kept"])


def score_maps(study: Study, scores: pd.DataFrame, circuit: pd.DataFrame | None = None) -> Drawing:
    """One row of panels a search: scores on the left, their null on the right, one colour scale for both."""
    table = _with_kept(scores, circuit)
    groups = [group for group in study.by_letter if group.name in set(table["search"])]
    n_layers, n_heads = int(table["layer"].max()) + 1, int(table["head"].max()) + 1
    null = bool(table["null_score"].notna().any()) if "null_score" in table else False
    columns = ["score", "null_score"] if null else ["score"]
    height = float(np.clip(0.08 * n_layers, 1.0, 2.3))
    with styled(study):
        figure = new_figure(6.6 if null else 3.8, len(groups) * (height + 0.5) + 0.5)
        panels = figure.subplots(len(groups), len(columns), squeeze=False)
        size = float(np.clip(72 * min(height / n_layers, 2.4 / n_heads) * 0.62, 1.6, 6.5))
        for row, group in zip(panels, groups, strict=True):
            own = table[table["search"] == group.name]
            limit = float(np.nanmax(own[columns].abs().to_numpy())) or 1.0
            for axes, column in zip(row, columns, strict=True):
                image = _map(axes, own, column, (n_layers, n_heads), limit, study.look.colormap)
            bar = figure.colorbar(image, ax=list(row), aspect=14, pad=0.015, shrink=0.95)
            bar.ax.yaxis.set_major_locator(MaxNLocator(4, symmetric=True))
            bar.set_label("relative change of p", fontsize=points(SMALL))
            bar.outline.set_visible(False)
            _mark(row[0], own, size)
            title = f"{group.title}, at the {group.token.replace('_', ' ')}"
            row[0].set_title(title, color=study.group_color(group.name))
            row[0].set_ylabel("layer")
            if null:
                row[1].set_title("null", fontweight="normal")
                row[1].set_yticklabels([])
        for axes in panels[-1]:
            axes.set_xlabel("head")
        names = [name for name in MARKS if is_true(table[name]).any()]
        look: dict[str, Any] = {"ls": "none", "ms": 5, "mew": 0.8}
        handles = [Line2D([], [], label=MEANING[name], **look, **MARKS[name]) for name in names]
        if handles:
            legend_below(figure, handles)
    return Drawing(figure, table)


def _with_kept(scores: pd.DataFrame, circuit: pd.DataFrame | None) -> pd.DataFrame:
    """The scores with `kept`, and `candidate` where it is not there; both False without a circuit."""
    keys = ["search", "layer", "head"]
    listed = pd.DataFrame(columns=[*keys, "kept"]) if circuit is None else circuit[[*keys, "kept"]]
    kept = set(listed.loc[is_true(listed["kept"]), keys].itertuples(index=False, name=None))
    among = set(listed[keys].itertuples(index=False, name=None))
    own = list(scores[keys].itertuples(index=False, name=None))
    table = scores.assign(kept=[head in kept for head in own])
    return table if "candidate" in table else table.assign(candidate=[head in among for head in own])


def _map(axes: Axes, own: pd.DataFrame, column: str, shape: tuple[int, int], limit: float, colormap: str) -> Any:
    grid = np.full(shape, np.nan)
    grid[own["layer"].to_numpy(), own["head"].to_numpy()] = own[column].to_numpy()
    image = axes.imshow(
        grid, cmap=colormap, vmin=-limit, vmax=limit, aspect="auto", origin="lower", interpolation="nearest"
    )
    for axis, n in ((axes.xaxis, shape[1]), (axes.yaxis, shape[0])):
        step = max(1, -(-n // 8))
        axis.set_ticks(range(0, n, step))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return image


def _mark(axes: Axes, own: pd.DataFrame, size: float) -> None:
    halo: list[Any] = [withStroke(linewidth=1.6, foreground="white")]
    for name, scale in (("receiver", 1.45), ("candidate", 0.8), ("kept", 0.8)):
        heads = own[is_true(own[name])]
        (drawn,) = axes.plot(heads["head"], heads["layer"], ls="none", ms=size * scale, mew=0.7, **MARKS[name])
        drawn.set_path_effects(halo)
