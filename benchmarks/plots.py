"""The two figures: how many times faster than the literal way, and cost against work."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

PARTS = ("search", "four searches", "50 circuits", "pairs", "DCM step", "CMAP")


def plot_ratios(table: pd.DataFrame, path: Path) -> None:
    """Ratio of CPU times by piece of work and shape, with the ratio at the least FLOPs as a line."""
    shown = table[table["what"].str.startswith(PARTS)]
    names = list(dict.fromkeys(shown["shape"]))
    fig, axes = plt.subplots(len(names), 1, figsize=(8, 2.4 * len(names)), squeeze=False, layout="constrained")
    for axis, name in zip(axes[:, 0], names, strict=True):
        rows = shown[shown["shape"] == name].reset_index(drop=True)
        axis.bar(rows["what"], rows["ratio"], color="#4477aa", width=0.6)
        for i, (ratio, limit) in enumerate(
            zip(rows["ratio"], rows.get("ratio_at_limit", rows["ratio"] * float("nan")), strict=True)
        ):
            above = max(ratio, limit) if pd.notna(limit) else ratio  # not under the line
            axis.annotate(
                f"{ratio:.3g}", (i, above), (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=8
            )
            if pd.notna(limit):
                label = "least FLOPs at torch's matrix-multiply rate" if i == 0 else None
                axis.plot([i - 0.4, i + 0.4], [limit, limit], color="#cc3311", lw=2, label=label)
        axis.set_yscale("log")
        axis.set_ylim(top=axis.get_ylim()[1] * 1.6)
        axis.set_ylabel("times faster")
        axis.set_title(name, loc="left", fontsize=10)
        axis.tick_params(axis="x", rotation=30, labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize=8)
    fig.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(fig)


def plot_scaling(table: pd.DataFrame, path: Path) -> None:
    """CPU time of the chain against each kind of work, on logarithmic axes, with the slope."""
    names = list(dict.fromkeys(table["axis"]))
    fig, axes = plt.subplots(1, len(names), figsize=(2.6 * len(names), 2.6), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        rows = table[table["axis"] == name]
        axis.loglog(rows["value"], rows["engine_s"], "o-", color="#4477aa")
        axis.set_xticks(rows["value"], [str(v) for v in rows["value"]])
        axis.minorticks_off()
        low, high = rows["engine_s"].min(), rows["engine_s"].max()
        ticks = [n * 10.0**e for e in range(-2, 3) for n in (1, 2, 5) if low / 1.6 <= n * 10.0**e <= high * 1.6]
        axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_xlabel(name)
        axis.set_title(f"slope {rows['slope'].iloc[0]:.2f}", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("CPU seconds, four searches")
    fig.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(fig)
