"""Synthetic tables have the columns that methods write, no more and no fewer."""

import pandas as pd
import pytest

import tests.helpers.reporting_stage_tables as more
import tests.helpers.reporting_tables as tables
from entity_mech.stages.table import STAGES
from tests.helpers.reporting_columns import COLUMNS, as_written
from tests.helpers.reporting_study import make_study

STUDY = make_study(2)
FIGURES = [figure for stage in STAGES for figure in stage.figures]


def test_a_column_too_many_or_too_few_is_noticed() -> None:
    table = tables.behaviour(STUDY)
    with pytest.raises(AssertionError, match=r"invents|no run writes"):
        as_written("behaviour", table.assign(candidate=True))
    with pytest.raises(AssertionError, match="lacks \\['high'\\]"):
        as_written("behaviour", table.drop(columns="high"))


def test_every_table_of_a_figure_has_known_columns() -> None:
    needed = {name for figure in FIGURES for name in figure.tables}
    assert needed - {"circuits"} <= set(COLUMNS)
    assert set(COLUMNS) <= needed | {table for stage in STAGES for table in stage.tables}


def made() -> dict[str, pd.DataFrame]:
    found = {name: table for name, table in tables.run_tables(STUDY).items() if name != "circuits"}
    found |= dict(zip(("overlap", "score_correlation"), more.overlap(STUDY), strict=True))
    found |= dict(zip(("circuit_size", "circuit_size_summary"), more.circuit_size(STUDY), strict=True))
    found |= dict(zip(("attention", "attention_prompt"), more.attention(STUDY), strict=True))
    for name in ("completeness", "role_map", "patched_heads", "probes", "probe_masks", "cmap_inputs"):
        found[name] = getattr(more, name)(STUDY)
    found |= {
        "knockout": more.knockout(STUDY, 4),
        "dcm_curves": tables.dcm_curves(STUDY),
        "stability": tables.stability(STUDY),
        "wordings": tables.wordings("base"),
    }
    return {**found, "path_patching": tables.path_patching(STUDY, 4, 4, tables.SMALL)}


def test_synthetic_tables_have_the_columns_that_methods_write() -> None:
    found = made()
    assert set(found) == set(COLUMNS)
    assert {name: list(table) for name, table in found.items()} == COLUMNS
