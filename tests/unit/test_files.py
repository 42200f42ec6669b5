"""Files appear whole or not at all, and equal content gives equal bytes."""

import json

import numpy as np
import pandas as pd
import pytest

from entity_mech.errors import UserError
from entity_mech.files import atomic_path, read_checked_json, read_table, write_checked_json, write_json, write_table


def test_a_file_appears_only_when_the_block_ends_well(tmp_path):
    path = tmp_path / "new" / "result.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent
        assert temporary.suffix == ".txt"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "result.txt"):
        pass


def test_json_has_sorted_keys_and_plain_numbers(tmp_path):
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    write_json(a, {"b": np.int64(2), "a": np.arange(2), "c": np.float32(0.5)})
    write_json(b, {"c": 0.5, "a": [0, 1], "b": 2})
    assert a.read_bytes() == b.read_bytes()
    assert a.read_text().endswith("}\n")
    assert json.loads(a.read_text()) == {"a": [0, 1], "b": 2, "c": 0.5}


@pytest.mark.parametrize("value", [float("nan"), np.float64("inf")])
def test_json_has_no_word_for_an_undefined_number(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"value": value})
    assert not list(tmp_path.iterdir())


def test_json_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(TypeError, match="set"):
        write_json(tmp_path / "a.json", {"value": {1, 2}})


def test_a_table_comes_back(tmp_path):
    table = pd.DataFrame(
        {
            "kind": ["null", "None", "NA"],
            "score": [1 / 3, np.nan, 1e-9],
            "n": [1, 2, 3],
            "fallback": [True, False, True],
        }
    )
    write_table(tmp_path / "t.csv", table)
    text = (tmp_path / "t.csv").read_bytes()
    assert text == b"kind,score,n,fallback\nnull,0.33333333,1,True\nNone,,2,False\nNA,1e-09,3,True\n"
    found = read_table(tmp_path / "t.csv")
    assert found["kind"].tolist() == ["null", "None", "NA"]
    assert found["score"].isna().tolist() == [False, True, False]
    np.testing.assert_allclose(found["score"], table["score"], rtol=1e-7)
    assert found["n"].dtype == np.int64
    assert found["fallback"].dtype == bool


def test_a_changed_character_of_a_checked_json_is_noticed(tmp_path):
    path = tmp_path / "a.json"
    write_checked_json(path, {"layer": np.int64(11), "score": -0.125, "heads": [1, 2]})
    assert read_checked_json(path) == {"layer": 11, "score": -0.125, "heads": [1, 2]}
    whole = path.read_text()
    for old, new in (("11", "12"), ("-0.125", "-0.135"), ('"heads"', '"heabs"'), ("2\n", "3\n")):
        assert old in whole
        path.write_text(whole.replace(old, new, 1))
        with pytest.raises(UserError, match=r"a\.json was changed or damaged.*run again"):
            read_checked_json(path)
