"""The one style of all figures, and writing them so that two runs give the same bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import pandas as pd
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from entity_mech.files import atomic_path, write_table
from entity_mech.reporting.study import Study

TEXT_WIDTH = 7.0  # inches, a page's text block; a figure is never wider
SMALL, TINY = 0.875, 0.75  # of the text size
INK, FAINT, GRID = "#222222", "#777777", "#DDDDDD"
PUBLISHED: dict[str, Any] = {
    "marker": "d",
    "mfc": "white",
    "mec": "black",
    "mew": 0.8,
    "ms": 5,
    "ls": "none",
    "zorder": 6,
}

STYLE: Any = {
    "font.family": "DejaVu Sans",
    # Labels and words are shown as they are; a formula would be read between two dollar signs.
    "text.parse_math": False,
    "text.usetex": False,
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": "medium",
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "errorbar.capsize": 0,
    "hatch.linewidth": 0.6,
    "figure.dpi": 100,
    "pdf.fonttype": 42,
    "svg.hashsalt": "entity-mech",
}
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}


Real = float | int


@dataclass(frozen=True)
class Drawing:
    """A figure and the tidy table of exactly what it shows."""

    figure: Figure
    table: pd.DataFrame


def save_figure(figure: Figure, stem: Path, formats: Sequence[str] = ("png", "pdf"), dpi: int = 200) -> list[Path]:
    """Write `stem.<format>` for each format, atomically, without dates or program versions inside."""
    written = []
    for form in formats:
        path = stem.with_name(f"{stem.name}.{form}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with rc_context(STYLE), atomic_path(path) as partial:
            figure.savefig(partial, format=form, dpi=dpi, metadata=METADATA.get(form))
        written.append(path)
    return written


def save_drawing(drawing: Drawing, stem: Path, formats: Sequence[str] = ("png", "pdf"), dpi: int = 200) -> list[Path]:
    """The figure in each format and its table as `stem.csv`."""
    written = save_figure(drawing.figure, stem, formats, dpi)
    table = stem.with_name(f"{stem.name}.csv")
    write_table(table, drawing.table)
    return [*written, table]


def styled(study: Study) -> Any:
    """`with styled(study):` around the making of a figure."""
    base = study.look.font_size
    sizes: Any = dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), SMALL * base)
    return rc_context({**STYLE, "font.size": base, **sizes})


def points(share: Real) -> float:
    """A text size in points, as a share of the figure's own."""
    return share * float(rcParams["font.size"])


def new_figure(width: Real, height: Real) -> Figure:
    """An empty figure (inches at 8 points) that places its parts so that they do not overlap."""
    figure = Figure(figsize=(min(width, TEXT_WIDTH), height * points(1.0) / 8))
    engine = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05, wspace=0.03, hspace=0.03)
    figure.set_layout_engine(engine)
    return figure


def wrap_name(name: str, width: int = 11) -> str:
    """A name over several lines: broken at spaces, else after `-` or `_`, else anywhere."""
    lines: list[str] = []
    for word in name.split(" "):
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += " " + word
            continue
        lines.append("")
        for part in re.findall(r"[^-_]+[-_]*|[-_]+", word):
            if lines[-1] and len(lines[-1]) + len(part) > width:
                lines.append("")
            while len(part) > width:
                lines[-1] = part[: width - 1] + "-"
                lines.append("")
                part = part[width - 1 :]
            lines[-1] += part
    return "\n".join(line for line in lines if line)


def short_name(name: str, width: int = 22) -> str:
    """A name on one line; a long one loses its middle."""
    if len(name) <= width:
        return name
    half = (width - 1) // 2
    return f"{name[: width - 1 - half]}…{name[-half:]}"


def accuracy_axis(axes: Axes, which: str = "x", label: str = "accuracy") -> None:
    """An axis from 0 to 1 with light grid lines."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    (axes.set_xlim if which == "x" else axes.set_ylim)(0, 1.04)
    axis.grid(True)
    axis.set_label_text(label)


def whiskers(value: pd.Series, low: pd.Series, high: pd.Series) -> list[list[float]]:
    """Lengths below and above the value for `errorbar`; nothing where the interval is unknown."""
    return [(value - low).clip(lower=0).fillna(0).tolist(), (high - value).clip(lower=0).fillna(0).tolist()]


def model_handles(study: Study, models: Sequence[str], line: bool = True) -> list[Line2D]:
    """Legend entries for models."""
    ls = "-" if line else "none"
    return [
        Line2D([], [], ls=ls, color=study.model_color(m), marker=study.model_marker(m), label=study.label(m))
        for m in models
    ]


def legend_below(figure: Figure, handles: Sequence[Any], columns: int | None = None) -> None:
    """One legend under all panels, in as many columns as fit."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    width = figure.get_size_inches()[0]
    fitting = max(1, int(width / (0.075 * longest + 0.42)))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns or len(handles), fitting))
