"""Two runs held against each other: what differs is seen, what is equal is not."""

import numpy as np
import pandas as pd
import pytest

from entity_mech.files import write_table
from entity_mech.reporting.compare_runs import main, table_difference

TABLE = pd.DataFrame({"model": ["a", "b"], "value": [0.5, np.nan], "answer": ["yes", None]})


def test_equal_tables_have_no_difference():
    assert table_difference(TABLE, TABLE.copy()) == (0.0, (), (), ())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"value": [0.75, np.nan]}, (0.25, (), (), ())),
        ({"value": [0.5, 0.0]}, (np.inf, (), (), ())),
        ({"answer": ["no", None]}, (0.0, ("answer",), (), ())),
        ({"n": [1, 2]}, (0.0, (), (), ("n",))),
    ],
)
def test_what_differs_is_seen(change, found):
    assert table_difference(TABLE, TABLE.assign(**change)) == found


def test_lost_rows_and_columns_are_seen():
    assert table_difference(TABLE, TABLE.iloc[:1]).largest == np.inf
    assert table_difference(TABLE, TABLE.drop(columns="value")).lost == ("value",)


def test_the_command_says_which_table_differs(tmp_path, capsys):
    for run, value in (("old", 0.5), ("same", 0.5), ("other", 0.6)):
        write_table(tmp_path / run / "tables" / "x.csv", TABLE.assign(value=value))
    old, same, other = (str(tmp_path / run) for run in ("old", "same", "other"))
    assert main([old, same]) == 0
    assert main([old, other]) == 1
    assert main([old, other, "--tolerance", "0.2"]) == 0
    assert "largest difference 0.1" in capsys.readouterr().out
    (tmp_path / "same/tables/x.csv").unlink()
    assert main([old, same]) == 1
    assert "missing" in capsys.readouterr().out
