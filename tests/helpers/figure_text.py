"""Where the text of a figure ends up: what overlaps, and what is cut off."""

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

Placed = tuple[str, float, float, float, float]  # text, left, bottom, right, top in pixels


def _texts(axes: Axes) -> list[Text]:
    found = [axes.title, axes._left_title, axes._right_title, *axes.texts]
    if axes.axison:
        for axis in (axes.xaxis, axes.yaxis):
            found += [axis.label, axis.offsetText]
            for tick in axis._update_ticks():
                found += [tick.label1, tick.label2]
    if axes.get_legend() is not None:
        found += axes.get_legend().get_texts()
    return found


def placed_texts(figure: Figure) -> list[Placed]:
    """Every visible text of a figure with its box."""
    FigureCanvasAgg(figure).draw()
    texts = list(figure.texts)
    for legend in figure.legends:
        texts += legend.get_texts()
    for axes in figure.axes:
        if axes.get_visible():
            texts += _texts(axes)
    placed = []
    for text in texts:
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent()
            placed.append((text.get_text(), box.x0, box.y0, box.x1, box.y1))
    return placed


def overlaps(texts: list[Placed], slack: float = 1.5) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes cover each other by more than the slack (pixels at 100 dpi) both ways."""
    found = []
    for one, other in combinations(texts, 2):
        wide = min(one[3], other[3]) - max(one[1], other[1])
        high = min(one[4], other[4]) - max(one[2], other[2])
        if wide > slack and high > slack:
            found.append((one[0], other[0]))
    return found


def cut_off(figure: Figure, texts: list[Placed], slack: float = 1.0) -> list[str]:
    """Texts that reach over the figure's edge."""
    width, height = figure.get_size_inches() * figure.dpi
    return [
        text
        for text, left, bottom, right, top in texts
        if left < -slack or bottom < -slack or right > width + slack or top > height + slack
    ]
