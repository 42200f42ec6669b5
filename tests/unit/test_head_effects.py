"""The bar figure of heads' effects: one bar a candidate, strongest first, pruned ones grey."""

import pandas as pd
from matplotlib.colors import to_hex

from entity_mech.reporting.figures.head_effects import PRUNED, head_effects
from tests.helpers.reporting_study import make_study

STUDY = make_study(2)
CIRCUIT = pd.DataFrame(
    [
        ("value_fetcher", "A", "last", 2, 1, -0.1, False),
        ("value_fetcher", "A", "last", 3, 0, -0.6, True),
        ("value_fetcher", "A", "last", 1, 3, -0.3, True),
        ("structure_reader", "D", "previous_label", 0, 2, -0.2, False),
    ],
    columns=["search", "letter", "token", "layer", "head", "score", "kept"],
)


def test_bars_are_the_scores_strongest_first_and_pruned_heads_are_grey() -> None:
    drawing = head_effects(STUDY, CIRCUIT)
    first, last = drawing.figure.axes
    bars = first.patches
    assert [round(bar.get_height()) for bar in bars] == [-60, -30, -10]
    assert [text.get_text() for text in first.get_xticklabels()] == ["3.0", "1.3", "2.1"]
    own, pruned = to_hex(STUDY.group_color("A")), PRUNED
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [own, own, pruned]
    assert first.get_title("left") == "A value fetcher: 2 of 3 kept"
    assert [to_hex(bar.get_facecolor()) for bar in last.patches] == [pruned]
    assert drawing.table["score"].tolist() == [-0.6, -0.3, -0.1, -0.2]


def test_a_model_without_candidates_says_so() -> None:
    figure = head_effects(STUDY, CIRCUIT.iloc[:0]).figure
    assert [text.get_text() for text in figure.axes[0].texts] == ["no search found a head"]
