"""Sections of the config about what people read: how the pages' answers are decided, how figures look."""

from __future__ import annotations

from typing import Literal

from entity_mech.config.keys import Real, Section, Text, key


class Findings(Section):
    """What the answers on the pages need: every rule is printed there with these numbers."""

    alpha: Real = key(
        0.05,
        "Level of the tests. Each question's headline answers share it (Holm's correction).",
        gt=0,
        lt=1,
    )
    margin: Real = key(
        0.1,
        "Same circuit: how far behind the model's own circuit the base's may be.",
        unit="share of the model's accuracy",
        gt=0,
        le=1,
    )
    ceiling_share: Real = key(
        0.5,
        "Same circuit: how much of what all heads at its tokens carry the base's circuit must carry.",
        unit="share of the ceiling",
        ge=0,
        le=1,
    )
    random_share: Real = key(
        0.9, "Share of random circuits of its size that a circuit must be shown to beat.", gt=0, lt=1
    )
    smallest_effect: Real = key(
        0.1,
        "Same functions: a group carries what moves the answer this much more often than no patching.",
        unit="share of pairs",
        ge=0,
        le=1,
    )
    low_accuracy: Real = key(
        0.2, "A warning stands beside a model that answers less.", unit="share of prompts", ge=0, le=1
    )
    low_ceiling: Real = key(
        0.9,
        "A warning stands beside a chain whose tokens carry less with all their heads.",
        unit="share of the model's accuracy",
        ge=0,
        le=10,
    )
    above_model: Real = key(
        1.1,
        "A note stands beside a circuit that is more accurate than its model by more.",
        unit="share of the model's accuracy",
        ge=1,
        le=100,
    )


class Figures(Section):
    """Style of the figures. Each key redraws only the figures that use it."""

    formats: list[Literal["png", "pdf", "svg"]] = key(
        lambda: ["png", "pdf"], "File formats; must include png, which the report uses."
    )
    dpi: int = key(200, "Resolution of png figures.", unit="dots per inch", ge=50, le=1200)
    font_size: Real = key(8, "Size of the text.", unit="points", ge=4, le=24)
    palette: Text = key("colorblind", "Seaborn palette of models and groups.")
    colormap: Text = key("RdBu", "Matplotlib colour map of the layer-by-head maps (red: the answer suffers).")
