"""The columns that a run's tables have, from the methods that write them: synthetic tables are held to these."""

import numpy as np
import pandas as pd

from entity_mech.methods import (
    attention_patterns,
    circuit_size,
    cmap,
    cmap_inputs,
    completeness,
    dcm,
    dcm_transfer,
    faithfulness,
    knockout,
    overlap,
    put_back,
    role_map,
    stability,
    wordings,
)
from entity_mech.methods.behaviour import behaviour_summary
from entity_mech.methods.head_scores import Effects, score_table
from entity_mech.methods.overlap import score_correlation
from entity_mech.methods.searches import PathSearch


def _behaviour() -> pd.DataFrame:
    answers = {"scene": [0], "query_index": [0], "correct": [1], "probability": [0.5], "correct_named": [1]}
    return behaviour_summary("base", pd.DataFrame(answers))


def _scores() -> pd.DataFrame:
    one = np.full((4, 2), -0.1)
    search = PathSearch("value_fetcher", "A", "last", (), 1, 1)
    table = score_table(search, {"corrupted": Effects(one, one)}, n_heads=2)
    return table.drop(columns="candidate")  # as the stage writes it: pruning decides which are candidates


# Tables of the whole run: each stage's, with the model put in front where the stage writes one file a model.
COLUMNS = {
    "behaviour": list(_behaviour()),
    "path_patching": ["model", *_scores()],
    "pruning": put_back.SUMMARY_COLUMNS,
    "stability": ["model", *stability.COLUMNS],
    "wordings": ["model", *wordings.COLUMNS],
    "faithfulness": faithfulness.COLUMNS,
    "completeness": completeness.COLUMNS,
    "overlap": overlap.OVERLAP_COLUMNS,
    "score_correlation": list(score_correlation({"base": _scores(), "chat": _scores()})),
    "circuit_size": circuit_size.CURVE_COLUMNS,
    "circuit_size_summary": circuit_size.SUMMARY_COLUMNS,
    "role_map": role_map.COLUMNS,
    "dcm": dcm.COLUMNS,
    "dcm_curves": ["model", *dcm.CURVES],
    "patched_heads": dcm_transfer.COLUMNS,
    "probes": dcm_transfer.COLUMNS,
    "probe_masks": dcm.COLUMNS,
    "cmap": cmap.COLUMNS,
    "cmap_inputs": cmap_inputs.COLUMNS,
    "knockout": knockout.COLUMNS,
    "attention": attention_patterns.MEAN_COLUMNS,
    "attention_prompt": attention_patterns.ROW_COLUMNS,
}


def as_written(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table with its columns in the order in which the run has them.

    Raises AssertionError when a column is missing, or one is there that no run has.
    """
    expected = COLUMNS[name]
    lacks, invents = set(expected) - set(table), set(table) - set(expected)
    assert not lacks, f"{name} lacks {sorted(lacks)}, which a run writes"
    assert not invents, f"{name} has {sorted(invents)}, which no run writes"
    return table[expected]
