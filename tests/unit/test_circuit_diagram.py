"""Heads of the circuit diagram: full, hollow where few scenes keep them, grey where they were pruned away."""

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch

import tests.helpers.reporting_tables as tables
from entity_mech.reporting.figures.circuit_diagram import circuit_of_tables
from tests.helpers.reporting_study import make_study

STUDY = make_study(2)
SCORES = tables.path_patching(STUDY, 4, 4, tables.SMALL)
CIRCUIT = tables.circuits(STUDY).query("model == 'base'")
STABILITY = tables.stability(STUDY).query("model == 'base'").reset_index(drop=True)


def faces(frequency: float | None, rows: slice = slice(None)) -> tuple[int, int, list[str]]:
    """Heads drawn full and hollow in their group's colour, and the words of the legend."""
    table = None
    if frequency is not None:
        table = STABILITY.assign(kept_frequency=0.9)
        table.loc[table.index[rows], "kept_frequency"] = frequency
    axes = circuit_of_tables(STUDY, CIRCUIT, SCORES, table).figure.axes[0]
    colors = {STUDY.group_color(group.name) for group in STUDY.groups}
    heads = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    own = [to_hex(patch.get_facecolor()) for patch in heads if to_hex(patch.get_edgecolor()) in colors]
    return sum(color in colors for color in own), own.count("#ffffff"), [text.get_text() for text in axes.texts]


def test_heads_that_few_scenes_keep_are_hollow() -> None:
    kept = int(CIRCUIT["kept"].sum())
    assert faces(None)[:2] == (kept, 0)
    assert faces(0.9)[:2] == (kept, 0)
    assert faces(0.5)[:2] == (kept, 0)
    assert faces(0.49)[:2] == (0, kept)
    first = int(np.flatnonzero(STABILITY["kept"])[0])
    assert faces(0.1, slice(first, first + 1))[:2] == (kept - 1, 1)


def test_the_legend_names_hollow_heads_only_where_there_may_be_some() -> None:
    assert "kept on few scenes" not in faces(None)[2]
    assert "kept on few scenes" in faces(0.9)[2]
