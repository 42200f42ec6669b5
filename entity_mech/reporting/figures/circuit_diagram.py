"""A model's circuit over the words of the prompt: groups in lanes at their tokens, and which feeds which.

Input: the circuit as `tables.circuit_table` gives it (search, letter, token, layer, head, score, kept). The words are
those of the task's example, as (token role, word) in order; a role of None is a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from entity_mech.reporting.study import Group, Study
from entity_mech.reporting.style import FAINT, INK, SMALL, TEXT_WIDTH, TINY, Drawing, points, styled
from entity_mech.reporting.tables import HALF
from entity_mech.task.roles import OBJECT, own_name

Words = Sequence[tuple[str | None, str]]
LEFT, RIGHT, BOTTOM = 0.42, 0.66, 0.62  # inches: layer axis, the answer, the words
LEGEND = 5.4  # inches that the legend takes with text of 8 points
HEADER, CHIP, CHIP_HEIGHT, GAP = 0.42, 0.27, 0.13, 0.012


@dataclass(frozen=True)
class Lane:
    """A group's column: left edge and width, in inches, and the width of a head in it."""

    group: Group
    left: float
    width: float
    chip: float

    @property
    def center(self) -> float:
        return self.left + self.width / 2


@dataclass(frozen=True)
class Plan:
    """Where everything is, in inches."""

    lanes: tuple[Lane, ...]
    words: tuple[tuple[float, str | None, str], ...]
    width: float
    pitch: float
    n_layers: int

    def y(self, layer: int) -> float:
        return BOTTOM + (layer + 0.5) * self.pitch

    @property
    def top(self) -> float:
        return BOTTOM + self.n_layers * self.pitch


def circuit_of_tables(
    study: Study,
    circuits: pd.DataFrame,
    scores: pd.DataFrame | None = None,
    stability: pd.DataFrame | None = None,
) -> Drawing:
    """The circuit of the one model that these rows of the run's tables are about.

    scores: of all its heads; without them (a given circuit has none) the diagram ends at its highest head. stability:
    how often each head is kept over resampled scenes (kept_frequency), where that was measured.
    """
    of_model = pd.concat([table[["model", "layer"]] for table in (circuits, scores) if table is not None])
    if stability is not None and len(stability):
        keys = ["search", "layer", "head"]
        circuits = circuits.merge(stability[[*keys, "kept_frequency"]], on=keys, how="left")
    return circuit_diagram(study, str(of_model["model"].iloc[0]), circuits, int(of_model["layer"].max()) + 1)


def circuit_diagram(study: Study, model: str, circuit: pd.DataFrame, n_layers: int) -> Drawing:
    """The circuit of one model. circuit: kept and pruned heads; n_layers: layers of the model.

    With a column kept_frequency, heads that are kept in fewer than half of the resamples of scenes are hollow.
    """
    words = study.task.example
    with styled(study):
        plan = _plan(study, circuit, n_layers, words)
        arcs = _arcs(study, plan)
        height = plan.top + HEADER + 0.28 + 0.24 * max([rank for *_, rank in arcs], default=0) + 0.3
        width = max(plan.width, LEGEND * points(1.0) / 8)
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(0, height)
        axes.axis("off")
        _layers(axes, plan)
        for lane in plan.lanes:
            _lane(axes, study, plan, lane, circuit[circuit["search"] == lane.group.name])
        _words(axes, study, plan, words)
        _flow(axes, study, plan, arcs)
        _legend(axes, plan, study.label(model), circuit, height)
    return Drawing(figure, circuit.assign(model=model))


def _plan(study: Study, circuit: pd.DataFrame, n_layers: int, words: Words) -> Plan:
    roles = [role for role, _ in words]
    at: dict[str, list[Group]] = {}
    for group in reversed(study.groups):  # what a group feeds stands to its right
        at.setdefault(own_name(group.token), []).append(group)
    gone = [role for role in at if role not in roles]
    if gone:
        raise ValueError(f"no word of the prompt has the role of a group: {', '.join(gone)}")
    crowd = circuit.groupby(["search", "layer"]).size()
    most = {group.name: 0 for group in study.groups}
    for key, count in crowd.to_dict().items():
        name = str(key[0])  # type: ignore[index]
        most[name] = max(most[name], count)
    room = TEXT_WIDTH - LEFT - RIGHT
    chip = CHIP
    if _width(words, at, most, chip) > room:
        words = _shortened(words, at)
    while _width(words, at, most, chip) > room and chip > 0.05:
        chip -= 0.005
    lanes, placed, x = [], [], LEFT
    for role, word in words:
        width = _text_width(word)
        here = at.get(role or "", [])
        if here:
            wide = [_lane_width(most[group.name], chip) for group in here]
            spare = max(0.0, width - sum(wide)) / len(wide)
            edge = x
            for group, own in zip(here, wide, strict=True):
                lanes.append(Lane(group, edge, own + spare, chip))
                edge += own + spare
            width = max(width, sum(wide))
        placed.append((x + width / 2, role, word))
        x += width
    pitch = min(0.42, max(CHIP_HEIGHT + 0.03, 3.0 / n_layers))
    return Plan(tuple(lanes), tuple(placed), x + RIGHT, pitch, n_layers)


def _text_width(word: str) -> float:
    return (0.062 * len(word) + 0.09) * points(1.0) / 8


def _lane_width(most: int, chip: float) -> float:
    return max(0.74 * points(1.0) / 8, most * (chip + GAP) + 0.1)


def _width(words: Words, at: dict[str, list[Group]], most: dict[str, int], chip: float) -> float:
    return sum(
        max(_text_width(word), sum(_lane_width(most[group.name], chip) for group in at.get(role or "", [])))
        for role, word in words
    )


def _shortened(words: Words, at: dict[str, list[Group]]) -> Words:
    """Without the words that no group sits at, but for the object; a gap where words went."""
    kept: list[tuple[str | None, str]] = []
    for role, word in words:
        if role in at or role == OBJECT:
            kept.append((role, word))
        elif not kept or kept[-1][0] is not None:
            kept.append((None, "…"))
    return kept


def _layers(axes: Axes, plan: Plan) -> None:
    right = plan.width - RIGHT + 0.05
    step = max(1, -(-plan.n_layers // 16))
    for layer in range(plan.n_layers):
        axes.plot([LEFT - 0.06, right], [plan.y(layer)] * 2, color="#EEEEEE", lw=0.6, zorder=0)
        if layer % step == 0:
            axes.text(LEFT - 0.1, plan.y(layer), str(layer), ha="right", va="center", fontsize=points(SMALL))
    middle = (plan.top + BOTTOM) / 2
    axes.text(0.14, middle, "layer", rotation=90, ha="center", va="center", fontsize=points(1.0))


def _lane(axes: Axes, study: Study, plan: Plan, lane: Lane, heads: pd.DataFrame) -> None:
    color = study.group_color(lane.group.name)
    left, width = lane.left + 0.03, lane.width - 0.06
    axes.add_patch(
        Rectangle((left, BOTTOM - 0.04), width, plan.top - BOTTOM + 0.04, fc=color, alpha=0.09, ec="none", zorder=0.5)
    )
    axes.add_patch(Rectangle((left, plan.top), width, HEADER, fc=color, ec="none", zorder=2))
    kept = int(heads["kept"].sum())
    first = f"{lane.group.letter}   {kept} head{'' if kept == 1 else 's'}"
    for text, y, share, weight in (
        (first, 0.73, SMALL, "bold"),
        (lane.group.name.split("_", 1)[0], 0.45, 0.66, "normal"),
        (lane.group.name.partition("_")[2].replace("_", " "), 0.17, 0.66, "normal"),
    ):
        axes.text(
            lane.center, plan.top + y * HEADER, text, ha="center", va="center", fontsize=points(share),
            fontweight=weight, color="white", zorder=3,
        )  # fmt: skip
    for layer, row in heads.groupby("layer"):
        ordered = row.sort_values("head")
        for place, head in enumerate(ordered.itertuples()):
            shift = (place - (len(ordered) - 1) / 2) * (lane.chip + GAP)
            _chip(axes, lane, lane.center + shift, plan.y(int(str(layer))), head, color)


def _chip(axes: Axes, lane: Lane, x: float, y: float, head: object, color: object) -> None:
    kept = bool(head.kept)  # type: ignore[attr-defined]
    hollow = kept and getattr(head, "kept_frequency", 1.0) < HALF
    style: dict[str, Any] = {"fc": "white" if hollow else color, "ec": color, "lw": 0.9 if hollow else 0.5}
    if not kept:
        style = {"fc": "white", "ec": "#AAAAAA", "lw": 0.5}
    corner = (x - lane.chip / 2 + 0.01, y - CHIP_HEIGHT / 2 + 0.01)
    box = FancyBboxPatch(corner, lane.chip - 0.02, CHIP_HEIGHT - 0.02, boxstyle="round,pad=0.005", zorder=3, **style)
    axes.add_patch(box)
    text = f"{head.layer}.{head.head}" if lane.chip > 0.24 else f"{head.head}"  # type: ignore[attr-defined]
    fits = lane.chip * 72 / (0.66 * max(2, len(text)))
    size = min(points(0.7), fits)
    if size >= 3:
        axes.text(
            x, y - 0.004, text, ha="center", va="center_baseline", fontsize=size, zorder=4,
            color=color if hollow else "white" if kept else FAINT,
        )  # fmt: skip


def _words(axes: Axes, study: Study, plan: Plan, words: Words) -> None:
    for x, role, word in plan.words:
        here = [lane for lane in plan.lanes if own_name(lane.group.token) == role]
        color = study.group_color(here[0].group.name) if len(here) == 1 else INK
        weight = "bold" if here else "normal"
        axes.text(x, 0.36, word, ha="center", va="baseline", fontsize=points(1.0), fontweight=weight, color=color)
        if here:
            axes.plot([here[0].left + 0.03, here[-1].left + here[-1].width - 0.03], [0.54] * 2, color=color, lw=1)
    answer = next((word for role, word in words if role == OBJECT), "")
    x = plan.words[-1][0]
    end = plan.width - RIGHT + 0.12
    axes.text(end, 0.36, f"→ {answer}", ha="left", va="baseline", fontsize=points(1.0), color=INK, style="italic")
    assert x < end


def _arcs(study: Study, plan: Plan) -> list[tuple[Lane, Lane, str, int]]:
    """(from, to, inputs, rank): arrows between lanes, longer ones higher."""
    lanes = {lane.group.name: lane for lane in plan.lanes}
    fed: dict[tuple[str, str], list[str]] = {}
    for group in study.groups:
        for name, kind in group.receivers:
            fed.setdefault((group.name, name), []).append(kind)
    found = [(lanes[one], lanes[other], ", ".join(kinds)) for (one, other), kinds in fed.items()]
    found.sort(key=lambda arc: abs(arc[1].center - arc[0].center))
    ranked: list[tuple[Lane, Lane, str, int]] = []
    for one, other, kinds in found:
        span = sorted((one.center, other.center))
        under = [rank for a, b, _, rank in ranked if min(a.center, b.center) < span[1] - 0.01
                 and max(a.center, b.center) > span[0] + 0.01]  # fmt: skip
        ranked.append((one, other, kinds, max(under, default=0) + 1))
    return ranked


def _flow(axes: Axes, study: Study, plan: Plan, arcs: list[tuple[Lane, Lane, str, int]]) -> None:
    base = plan.top + HEADER
    for one, other, kinds, rank in arcs:
        sign = 1 if other.center > one.center else -1
        inner = 0.1 - 0.12 * (rank - 1)  # a longer arrow goes around a shorter one
        start, end = one.center + inner * sign, other.center - inner * sign
        peak = 0.24 * rank
        color = study.group_color(one.group.name)
        arrow: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 7, "color": color, "lw": 1.1}
        arrow |= {"shrinkA": 0, "shrinkB": 0}
        y = base + 0.03 + peak
        path = [(start, base + 0.02), (start, y), (end, y), (end, base + 0.02)]
        axes.plot([x for x, _ in path[:3]], [y for _, y in path[:3]], color=color, lw=1.1, zorder=2)
        axes.add_patch(FancyArrowPatch(path[2], path[3], zorder=2, **arrow))
        axes.text(
            (start + end) / 2, y, kinds, ha="center", va="center", fontsize=points(SMALL), color=color,
            bbox={"fc": "white", "ec": "none", "pad": 1.2}, zorder=5,
        )  # fmt: skip
    for lane in plan.lanes:
        if not lane.group.receivers:
            y = plan.top + HEADER / 2
            end = plan.width - RIGHT + 0.12
            axes.add_patch(
                FancyArrowPatch((lane.left + lane.width - 0.03, y), (end, y), arrowstyle="-|>", mutation_scale=7,
                                color=study.group_color(lane.group.name), lw=1.1, shrinkA=0, shrinkB=0, zorder=1.5)
            )  # fmt: skip
            axes.text(end + 0.04, y, "logits", va="center", fontsize=points(SMALL))


def _legend(axes: Axes, plan: Plan, label: str, circuit: pd.DataFrame, height: float) -> None:
    axes.text(LEFT - 0.06, height - 0.15, label, fontsize=points(1.0), fontweight="bold", va="center")
    x = LEFT
    signs = [("kept", FAINT, FAINT, 0.6), ("pruned away", "white", "#AAAAAA", 0.6)]
    if "kept_frequency" in circuit:
        signs.insert(1, ("kept on few scenes", "white", FAINT, 0.9))
    for text, face, edge, lw in signs:
        axes.add_patch(Rectangle((x, 0.1), 0.16, 0.09, lw=lw, fc=face, ec=edge))
        axes.text(x + 0.22, 0.145, text, va="center", fontsize=points(TINY), color=FAINT)
        x += 0.22 + 0.065 * len(text) + 0.2
    numbers = "layer.head" if plan.lanes[0].chip > 0.24 else "head"
    note = f"numbers: {numbers}    arrows: the input (q, k, v) that is fed"
    axes.text(x, 0.145, note, va="center", fontsize=points(TINY), color=FAINT)
