"""Where a model's strongest heads look.

Inputs, of one model's own circuit:
- means: model, circuit, group, letter, token, layer, head, rank (1: the strongest), kind (role | segment), to (a
  role; a segment counted from 1, `queried` or `others`), attention, low, high, n.
- prompt: model, circuit, group, letter, token, layer, head, rank, prompt, position, token_id, text, attention: one
  prompt's attention row from the group's token.
"""

from __future__ import annotations

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from entity_mech.reporting.cells import Color
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import FAINT, INK, TEXT_WIDTH, TINY, Drawing, points, styled

SUMS = ("queried", "others")
LEFT, CELL, GAP, TOP = 1.5, 0.19, 0.1, 0.78  # inches
LINE, HEAD = 0.17, 0.2
MONO = 0.0086  # inches that a letter of the monospaced font takes, per point


def attention(study: Study, means: pd.DataFrame, prompt: pd.DataFrame) -> Drawing:
    """Above: mean attention of each group's strongest heads. Below: one prompt, coloured by attention."""
    roles = [role for role in study.task.roles if role in set(means.loc[means["kind"] == "role", "to"])]
    numbered = sorted({int(to) for to in means.loc[means["kind"] == "segment", "to"] if str(to).isdigit()})
    columns = [("role", role) for role in roles]
    columns += [("segment", str(number)) for number in numbered] + [("segment", name) for name in SUMS]
    rows = means.drop_duplicates(["group", "layer", "head"]).sort_values(["letter", "rank"])
    shown = prompt[prompt["rank"] == prompt.groupby("group")["rank"].transform("min")].sort_values("letter")
    with styled(study):
        blocks = [(key, _lines(part)) for key, part in shown.groupby("letter")]
        below = sum(HEAD + LINE * len(lines) + 0.1 for _, lines in blocks)
        height = TOP + CELL * len(rows) + 0.4 + below + 0.3
        figure = Figure(figsize=(TEXT_WIDTH, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, TEXT_WIDTH)
        axes.set_ylim(height, 0)
        axes.axis("off")
        _means(axes, study, means, rows, columns)
        y = TOP + CELL * len(rows) + 0.35
        for letter, lines in blocks:
            y = _block(axes, study, str(letter), shown[shown["letter"] == letter], lines, y)
        _scale(axes, y + 0.05)
    return Drawing(figure, pd.concat([means, prompt.assign(kind="prompt")], ignore_index=True))


def _shade(value: float) -> Color:
    return colormaps["Purples"](0.7 * min(1.0, max(0.0, value)))


def _x(place: int, n_roles: int, n_numbered: int) -> float:
    """Left edge of a column; gaps before the segments and before their sums."""
    return LEFT + CELL * 1.12 * place + GAP * ((place >= n_roles) + (place >= n_roles + n_numbered))


def _means(axes: Axes, study: Study, means: pd.DataFrame, rows: pd.DataFrame, columns: list[tuple[str, str]]) -> None:
    n_roles = sum(kind == "role" for kind, _ in columns)
    n_numbered = len(columns) - n_roles - len(SUMS)
    width = CELL * 1.12
    known = means.set_index(["group", "layer", "head", "kind", "to"])["attention"].to_dict()
    for place, (kind, to) in enumerate(columns):
        text = to.replace("_", " ") if kind == "role" or to in SUMS else f"segment {to}"
        x = _x(place, n_roles, n_numbered) + width / 2
        axes.text(x, TOP - 0.05, text, rotation=90, ha="center", va="bottom", fontsize=points(TINY))
    for y, row in enumerate(rows.to_dict("records")):
        top = TOP + CELL * y
        name = f"{row['letter']} {row['layer']}.{row['head']} from {str(row['token']).replace('_', ' ')}"
        color = study.group_color(str(row["group"]))
        axes.text(LEFT - 0.07, top + CELL / 2, name, ha="right", va="center", fontsize=points(TINY), color=color)
        for place, (kind, to) in enumerate(columns):
            value = known.get((row["group"], row["layer"], row["head"], kind, to))
            x = _x(place, n_roles, n_numbered)
            face = "#F4F4F4" if value is None else _shade(value)
            axes.add_patch(Rectangle((x, top), width - 0.01, CELL - 0.01, fc=face, ec="none"))
            if value is not None and value >= 0.1:
                shown = f"{value:.1f}".removeprefix("0")
                axes.text(x + width / 2, top + CELL / 2, shown, ha="center", va="center", fontsize=points(0.62))


PUNCTUATION = set(".,;:!?")


def _clean(text: object) -> str:
    """A token as it is read: the marks of word starts become spaces."""
    shown = "" if pd.isna(text) else str(text)  # type: ignore[call-overload]
    return shown.replace("\u2581", " ").replace("\u0120", " ").replace("\u010a", "\u21b5").replace("\n", "\u21b5")


def _lines(part: pd.DataFrame) -> list[list[tuple[str, float]]]:
    """Tokens as (text, attention), broken into lines."""
    room = int((TEXT_WIDTH - 0.3) / (MONO * points(0.8)))
    lines: list[list[tuple[str, float]]] = [[]]
    used = 0
    rows = part.sort_values("position").to_dict("records")
    # A word-level tokenizer's tokens hold no spaces: put them where a reader expects them.
    bare = not any(" " in _clean(row["text"]) for row in rows)
    for row in rows:
        text = _clean(row["text"])
        if bare and text not in PUNCTUATION:
            text = f" {text}"
        if used + len(text) > room:
            lines.append([])
            used = 0
        lines[-1].append((text, float(row["attention"])))
        used += len(text)
    return lines


def _block(
    axes: Axes, study: Study, letter: str, part: pd.DataFrame, lines: list[list[tuple[str, float]]], y: float
) -> float:
    """One prompt for one head, from y down; returns where it ends."""
    one = part.iloc[0]
    group = study.group(letter)
    name = f"{group.title}, head {one['layer']}.{one['head']}, from {str(one['token']).replace('_', ' ')}"
    color = study.group_color(letter)
    axes.text(0.15, y + 0.06, name, va="center", fontsize=points(0.85), fontweight="bold", color=color)
    y += HEAD
    letter_width = MONO * points(0.8)
    for line in lines:
        x = 0.15
        for text, value in line:
            width = letter_width * len(text)
            axes.add_patch(Rectangle((x, y - LINE / 2 + 0.005), width, LINE - 0.01, fc=_shade(value), ec="none"))
            if text.strip():
                axes.text(x, y, text, va="center", family="DejaVu Sans Mono", fontsize=points(0.8), color=INK)
            x += width
        y += LINE
    return y + 0.1


def _scale(axes: Axes, y: float) -> None:
    axes.text(0.15, y, "attention", va="center", fontsize=points(TINY), color=FAINT)
    for i in range(11):
        axes.add_patch(Rectangle((0.75 + 0.16 * i, y - 0.05), 0.16, 0.1, fc=_shade(i / 10), ec="none"))
        if i % 5 == 0:
            text = {0: "0", 5: ".5", 10: "1"}[i]
            axes.text(0.83 + 0.16 * i, y, text, ha="center", va="center", fontsize=points(0.62))
