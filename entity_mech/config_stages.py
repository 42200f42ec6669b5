"""Config keys of the stages that a run can leave out."""

from __future__ import annotations

from typing import Literal, get_args

from entity_mech.config_keys import Section, key

Stage = Literal[
    "completeness", "overlap", "circuit_size", "role_map", "patched_heads", "probes", "cmap_inputs", "knockout",
    "attention",
]  # fmt: skip

STAGE_NAMES: tuple[str, ...] = get_args(Stage)


class Completeness(Section):
    """The circuit and the whole model with the same heads removed from both."""

    random_halves: int = key(
        20, "Random halves of the circuit that are removed.", unit="draws", cost="time of measure_completeness", ge=1
    )


class Patching(Section):
    """Heads that masks chose, patched on fresh pairs: every circuit's heads in every model."""

    pairs: int = key(100, "Pairs in a resample.", unit="pairs", cost="time of patch_dcm_heads", ge=1)
    resamples: int = key(5, "Resamples of pairs.", unit="resamples", cost="time of patch_dcm_heads", ge=1)


class ProbePairs(Section):
    """Pairs of prompts for each probe."""

    train: int = key(300, "Pairs on which masks are trained.", unit="pairs", cost="time of probe_position", ge=1)
    validation: int = key(100, "Pairs on which the best mask is chosen.", unit="pairs", ge=1)
    test: int = key(300, "Pairs on which accuracy is reported.", unit="pairs", ge=1)


class Probes(Section):
    """Eleven changes to the source prompt, to see what a group means by position."""

    group: str = key("position_transmitter", "Search whose group is probed.", min_length=1)
    pairs: ProbePairs = key(ProbePairs, "How many pairs of prompts for each probe.")


class Attention(Section):
    """Attention of each group's strongest heads."""

    heads: int = key(3, "Heads of a group, the strongest first.", unit="heads", ge=1)
