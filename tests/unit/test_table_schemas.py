"""Tables are held against what tables of their kind must hold."""

import numpy as np
import pandas as pd
import pytest

from entity_mech.errors import UserError
from entity_mech.files import read_table, write_table
from entity_mech.stages.stage import Run
from entity_mech.stages.table import STAGES
from entity_mech.table_schemas import FILES, SCHEMAS, Schema, check_table, schema_of
from tests.helpers.reporting_columns import COLUMNS

RUN = Run(("base", "chat"), "base", ("chat",), (("base", "chat"),))
SCORES = SCHEMAS["path_patching"]


def scores() -> pd.DataFrame:
    rows = [(search, layer, head) for search in "ab" for layer in range(3) for head in range(2)]
    table = pd.DataFrame(rows, columns=["search", "layer", "head"])
    table["letter"], table["token"], table["n"] = "A", "last", 14
    for name in ("score", "median", "share_down", "logit_change"):
        table[name] = np.linspace(-1, 1, len(table))
    return table.assign(null_score=np.nan, exact=True, receiver=False)


def faithfulness() -> pd.DataFrame:
    kinds = ["model", "circuit", "ceiling", "random", "random"]
    table = pd.DataFrame({"circuit": "base", "kind": kinds, "draw": [np.nan, np.nan, np.nan, 0, 1]})
    return table.assign(heads=3, n=14, accuracy=0.5, accuracy_low=0.4, accuracy_high=0.6)


def test_every_table_of_a_stage_and_of_the_run_has_a_schema():
    for stage in STAGES:
        for table in stage.tables:
            assert schema_of(f"results/small/tables/{table}.csv") is not None, table
        for table, parts in RUN.merged(stage).items():
            for part in parts:
                assert schema_of(f"results/small/{part.file}") is SCHEMAS[table], part.file


def test_every_schema_is_used():
    assert set(FILES.values()) <= set(SCHEMAS)
    tables = {table for stage in STAGES for table in stage.tables} | {"findings", "models"}
    assert set(SCHEMAS) - tables - set(FILES.values()) == set()
    assert schema_of("results/small/figures/dcm.csv") is None
    assert schema_of("dcm.csv") is None


@pytest.mark.parametrize("name", sorted(set(COLUMNS) & set(SCHEMAS)))
def test_schemas_name_columns_that_methods_write(name):
    assert set(SCHEMAS[name].columns) <= set(COLUMNS[name])


def test_a_whole_table_has_no_fault():
    assert check_table(SCORES, scores()) == ""
    two = pd.concat([scores().assign(model="base"), scores()[:6].assign(model="chat")])
    assert check_table(SCORES, two) == "", "models may have other searches"
    assert check_table(SCHEMAS["faithfulness"], faithfulness()) == ""
    assert check_table(None, pd.DataFrame()) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns=["score", "token"]), "the columns token, score are missing"),
        (lambda t: pd.concat([t, t[3:4]]), "two rows are about search a, layer 1, head 1"),
        (lambda t: t[:-1], "some combinations of search, layer, head have no row"),
        (lambda t: t.assign(score=[np.nan, *t["score"][1:]]), "score should be a number and is nan in row 1"),
        (lambda t: t.assign(score=[*t["score"][:-1], np.inf]), "score should be a number and is inf in row 12"),
        (lambda t: t.assign(score="strong"), "score should be a number and is 'strong' in row 1"),
        (lambda t: t.assign(letter=None), "letter should be there and is None in row 1"),
        (lambda t: t.assign(head=t["head"] - 1), "head should be a whole number from 0 up and is -1 in row 1"),
        (lambda t: t.assign(layer=t["layer"] + 0.5), "layer should be a whole number from 0 up and is 0.5 in row 1"),
        (lambda t: t.assign(exact="maybe"), "exact should be True or False and is 'maybe' in row 1"),
    ],
)
def test_a_fault_is_said(change, said):
    assert check_table(SCORES, change(scores())) == said


def test_rows_that_must_be_there():
    said = check_table(SCHEMAS["faithfulness"], faithfulness()[1:])
    assert said == "there is no row of kind model"
    counted = Schema("prompt", counted=True)
    assert check_table(counted, pd.DataFrame({"prompt": [0, 2, 3]})) == "prompt does not count the rows 0, 1, 2, ..."


def test_a_stage_cannot_write_what_no_stage_may_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = "results/small/models/base/path_patching.csv"
    with pytest.raises(ValueError, match="have no row"):
        write_table(path, scores()[:-1])
    assert not list(tmp_path.rglob("*"))
    write_table(path, scores())
    assert len(read_table(path)) == 12
    monkeypatch.setitem(SCHEMAS, "path_patching", Schema("search layer head", "new"))
    with pytest.raises(UserError, match=r"path_patching\.csv: the columns new are missing\. Delete it"):
        read_table(path)
