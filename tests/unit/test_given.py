"""Given scores and circuits: what is taken from them, and what is refused, before any job and in the jobs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from entity_mech.config.load import load_config
from entity_mech.errors import UserError
from entity_mech.files import read_checked_json, write_table
from entity_mech.methods.circuits import read_circuit, write_circuit
from entity_mech.methods.given import NUMBERS, chain_groups, given_circuit, given_scores, without_offset
from entity_mech.methods.head_scores import Effects, score_table
from entity_mech.methods.overlap import overlap
from entity_mech.methods.searches import PathSearch
from entity_mech.reporting.tables import circuit_table

ROOT = Path(__file__).parents[2]
SIZE = (4, 3)
CHAIN = [
    PathSearch("value_fetcher", "A", "last", (), 2, 3),
    PathSearch("structure_reader", "D", "previous_label", (("value_fetcher", "k"),), 2, 3),
]
GROUPS = chain_groups(CHAIN)


def scores(shift: float = 0.0) -> pd.DataFrame:
    """A score for every head, none alike; 0 for the last layer's in the search into heads, but for the shift."""
    rows = []
    for sign, search in zip((1, -1), CHAIN, strict=True):
        for place in range(SIZE[0] * SIZE[1]):
            layer, head = divmod(place, SIZE[1])
            score = sign * (place - 5.5) / 20
            if search.receivers:
                score = shift + (0 if layer == SIZE[0] - 1 else score)
            rows.append((search.name, layer, head, score))
    return pd.DataFrame(rows, columns=["search", "layer", "head", "score"])


def written(folder: Path, table: pd.DataFrame) -> Path:
    write_table(folder / "scores.csv", table)
    return folder / "scores.csv"


def refusal(folder: Path, text: str, name: str = "scores.csv") -> str:
    (folder / name).write_text(text)
    readers = {"scores.csv": lambda path: given_scores(path, CHAIN, SIZE)}
    read = readers.get(name, lambda path: given_circuit(path, "m", GROUPS, SIZE))
    with pytest.raises(UserError) as refused:
        read(folder / name)
    assert str(refused.value).startswith(f"{folder / name}: ")
    return str(refused.value).removeprefix(f"{folder / name}: ")


def test_a_minimal_table_becomes_what_the_searches_write(tmp_path):
    found, offsets = given_scores(written(tmp_path, scores()), CHAIN, SIZE)
    one = np.zeros((12, 2))
    columns = list(score_table(CHAIN[0], {"corrupted": Effects(one, one)}, 3).drop(columns="candidate"))
    assert list(found) == columns
    assert offsets == {"value_fetcher": 0, "structure_reader": 0}
    assert found["score"].tolist() == scores()["score"].tolist()
    assert set(zip(found["search"], found["letter"], found["token"], strict=True)) == set(GROUPS)
    top = found[found["receiver"]].groupby("search")[["layer", "head"]].apply(lambda own: own.to_numpy().tolist())
    assert top["value_fetcher"] == [[0, 0], [0, 1]]  # the most negative
    assert top["structure_reader"] == [[2, 1], [2, 2]]
    assert found[[*NUMBERS, "n"]].isna().all().all()


def test_a_table_of_the_searches_comes_back_as_it_was(tmp_path):
    rng = np.random.default_rng(0)
    tables = []
    for search in CHAIN:
        effects = {
            kind: Effects(rng.normal(size=(12, 5)), rng.normal(size=(12, 5))) for kind in ("corrupted", "null")
        }
        tables.append(score_table(search, effects, 3).drop(columns="candidate"))
    whole = pd.concat(tables, ignore_index=True)
    shuffled = whole.sample(frac=1, random_state=0)
    found, _ = given_scores(written(tmp_path, shuffled), CHAIN, SIZE)
    pd.testing.assert_frame_equal(found, whole, check_exact=False, rtol=1e-7, check_dtype=False)


def test_a_column_group_counts_as_search_and_a_byte_order_mark_does_no_harm(tmp_path):
    text = scores().rename(columns={"search": "group"}).to_csv(index=False)
    (tmp_path / "scores.csv").write_text(text, encoding="utf-8-sig")
    found, _ = given_scores(tmp_path / "scores.csv", CHAIN, SIZE)
    assert found["score"].tolist() == scores()["score"].tolist()


def test_an_offset_shared_by_the_last_layer_is_taken_off(tmp_path):
    found, offsets = given_scores(written(tmp_path, scores(shift=0.25)), CHAIN, SIZE)
    assert offsets == {"value_fetcher": 0, "structure_reader": 0.25}
    assert np.allclose(found["score"], scores()["score"])
    assert (found["score"] == 0).sum() == 3


def test_scores_that_differ_in_the_last_layer_are_left_as_they_are():
    table = scores().query("search == 'value_fetcher'")
    same, offset = without_offset(table)
    assert offset == 0
    assert same["score"].tolist() == table["score"].tolist()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="score"), "needs the columns search, layer, head, score, and its columns are"),
        (lambda t: t.iloc[:0], "has no rows"),
        (lambda t: t.iloc[1:], "head 0.0 of value_fetcher has no score"),
        (lambda t: t.iloc[2:], "head 0.0 of value_fetcher has no score (and 1 more like it)"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "head 0.0 of value_fetcher stands there twice"),
        (lambda t: t.assign(score=t["score"].mask(t.index == 3)), "line 5: score '' is not a number"),
        (lambda t: t.assign(score=np.inf), "line 2: score 'inf' is not a number (and 23 more like it)"),
        (lambda t: t.assign(head=t["head"] - 1), "line 2: head '-1' is not a whole number from 0 on (and 7 more"),
        (lambda t: t.assign(layer=t["layer"] + 1), "there is no head 4.0 of value_fetcher: the model has 4 layers"),
        (lambda t: t[t["search"] == "value_fetcher"], "nothing is said about the search structure_reader"),
        (
            lambda t: t.replace("value_fetcher", "fetcher"),
            "fetcher is no search of this config (value_fetcher, ",
        ),
        (lambda t: t.assign(token="last"), "structure_reader sits at the token 'last', in this config at 'previous"),
        (lambda t: t.assign(letter="A"), "structure_reader has the letter A, in this config D"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, change, said):
    assert said in refusal(tmp_path, change(scores()).to_csv(index=False))


@pytest.mark.parametrize("text", ["", "\n", "a;b\n1;2\n"])
def test_what_is_no_table_of_scores_is_refused(tmp_path, text):
    assert "needs the columns search, layer, head, score" in refusal(tmp_path, text)


def test_the_token_may_have_its_other_name(tmp_path):
    table = scores().assign(token="last")
    table.loc[table["search"] == "structure_reader", "token"] = "label"
    found, _ = given_scores(written(tmp_path, table), CHAIN, SIZE)
    assert found["token"].iloc[-1] == "previous_label"


PLAIN = {"value_fetcher": [[1, 0], [0, 1]], "structure_reader": [[2, 2]]}


def circuit_file(folder: Path, data: object) -> Path:
    (folder / "circuit.json").write_text(json.dumps(data))
    return folder / "circuit.json"


def test_lists_of_heads_are_a_circuit_without_scores(tmp_path):
    circuit, threshold = given_circuit(circuit_file(tmp_path, PLAIN), "m", GROUPS, SIZE)
    assert threshold is None
    assert [group.heads for group in circuit.groups] == [((1, 0), (0, 1)), ((2, 2),)]
    assert circuit.group("structure_reader").token == "previous_label"
    write_circuit(tmp_path / "own.json", circuit, threshold=None)
    data = read_checked_json(tmp_path / "own.json")
    assert [head["score"] for head in data["groups"][0]["heads"]] == [None, None]
    assert circuit_table(data)["score"].isna().all()
    again, _ = given_circuit(tmp_path / "own.json", "m", GROUPS, SIZE)
    assert [group.heads for group in again.groups] == [group.heads for group in circuit.groups]
    assert np.isnan(read_circuit(tmp_path / "own.json").groups[0].scores).all()


def test_with_scores_the_strongest_head_stands_first(tmp_path):
    table, _ = given_scores(written(tmp_path, scores()), CHAIN, SIZE)
    circuit, _ = given_circuit(circuit_file(tmp_path, PLAIN), "m", GROUPS, SIZE, table)
    first = circuit.groups[0]
    assert first.heads == ((0, 1), (1, 0))
    assert first.scores == (-0.225, -0.125)
    assert first.candidates == ((0, 1, -0.225), (1, 0, -0.125))


def test_a_circuit_of_another_run_keeps_its_scores_candidates_and_threshold(tmp_path):
    circuit, _ = given_circuit(circuit_file(tmp_path, PLAIN), "m", GROUPS, SIZE)
    (group, other), more = circuit.groups, ((1, 0, -0.5), (3, 1, -0.2))
    group = type(group)(group.name, group.letter, group.token, ((1, 0),), (-0.5,), more)
    write_circuit(tmp_path / "run.json", type(circuit)("other", (group, other)), threshold=0.05)
    found, threshold = given_circuit(tmp_path / "run.json", "m", GROUPS, SIZE)
    assert threshold == 0.05
    assert (found.model, found.groups[0]) == ("m", group)
    edited = json.loads((tmp_path / "run.json").read_text())
    edited["groups"][0]["heads"] = [{"layer": 3, "head": 1}]  # its digest no longer fits
    found, _ = given_circuit(circuit_file(tmp_path, edited), "m", GROUPS, SIZE)
    assert found.groups[0].heads == ((3, 1),)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "it is no circuit"),
        ({**PLAIN, "value_fetcher": 3}, "the heads of value_fetcher are no list"),
        ({**PLAIN, "value_fetcher": [[1]]}, "lacks its `layer`"),
        ({**PLAIN, "value_fetcher": [[1, -1]]}, "layer and head should be whole numbers from 0 on"),
        ({**PLAIN, "value_fetcher": [[1, True]]}, "layer and head should be whole numbers from 0 on"),
        ({**PLAIN, "value_fetcher": [{"layer": 1, "head": 1, "score": float("nan")}]}, "nan is not a number"),
        ({**PLAIN, "value_fetcher": [[4, 0], [5, 0]]}, "there is no head 4.0 of value_fetcher: the model has 4"),
        ({**PLAIN, "value_fetcher": [[1, 0], [1, 0]]}, "head 1.0 of value_fetcher stands there twice"),
        ({"value_fetcher": [[1, 0]]}, "nothing is said about the search structure_reader"),
        ({**PLAIN, "mover": [[1, 0]]}, "mover is no search of this config"),
        ({"value_fetcher": [], "structure_reader": []}, "it has no heads"),
        ({"groups": [{"heads": []}]}, "lacks its `name`"),
        ({"groups": [{"name": "value_fetcher", "heads": []}] * 2}, "the group value_fetcher stands there twice"),
        ({"groups": [{"name": "value_fetcher", "token": "label", "heads": []},
                     {"name": "structure_reader", "heads": []}]}, "sits at the token 'label', in this config at"),
    ],
)  # fmt: skip
def test_a_circuit_that_does_not_fit_is_refused(tmp_path, data, said):
    assert said in refusal(tmp_path, json.dumps(data), "circuit.json")


def test_what_is_no_json_is_refused(tmp_path):
    assert "cannot be read as JSON" in refusal(tmp_path, "{", "circuit.json")


def test_one_head_may_not_be_in_two_groups_at_one_token(tmp_path):
    chain = chain_groups([CHAIN[0], PathSearch("position_transmitter", "B", "last", (("value_fetcher", "q"),), 2, 3)])
    path = circuit_file(tmp_path, {"value_fetcher": [[1, 0]], "position_transmitter": [[1, 0]]})
    with pytest.raises(UserError, match=r"head 1\.0 at the token 'last' stands in value_fetcher and in position_tr"):
        given_circuit(path, "m", chain, SIZE)


def test_without_scores_overlap_by_chance_is_not_known(tmp_path):
    circuits = [given_circuit(circuit_file(tmp_path, PLAIN), name, GROUPS, SIZE)[0] for name in ("a", "b")]
    table, _ = given_scores(written(tmp_path, scores()), CHAIN, SIZE)
    sizes = {"a": SIZE, "b": SIZE}
    known = overlap(circuits, sizes, {"a": table, "b": table})
    unknown = overlap(circuits, sizes, {"a": table})
    chance = [name for name in known if "chance" in name]
    assert known[chance].notna().all().all()
    assert unknown[chance].isna().all().all()
    assert unknown.drop(columns=chance).equals(known.drop(columns=chance))


# Before any job: the config's own check.


TINY = ["value_fetcher", "position_transmitter", "position_detector", "structure_reader"]


def raw_config(folder: Path, **more: object) -> dict:
    """A study of one shipped model, in the working directory, with what is given for it."""
    shutil.copytree(ROOT / "demo_models/tiny/base", folder / "base")
    return {"run": "mine", "base": "base", "models": [{"name": "base", "path": "base", **more}]}


def tiny_scores() -> pd.DataFrame:
    return pd.DataFrame(
        [(name, layer, head, 0.0) for name in TINY for layer in range(4) for head in range(4)],
        columns=["search", "layer", "head", "score"],
    )


def test_a_config_with_fitting_files_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = raw_config(tmp_path, scores="scores.csv", circuit="circuit.json", threshold=0)
    written(tmp_path, tiny_scores())
    circuit_file(tmp_path, {name: [[0, 0]] if "value" in name else [] for name in TINY})
    config = load_config(raw)
    assert config.threshold("base") == 0
    assert config.plan().having("pruning") == ()


@pytest.mark.parametrize(
    ("key", "path", "text", "said"),
    [
        (
            "scores",
            "scroes.csv",
            "",
            "there is no such file (relative to the working directory). Did you mean ",
        ),
        ("scores", "results/mine/scores.csv", "search", "this run writes into results/mine itself"),
        ("scores", "scores.csv", "search,layer,head,score\n", "scores.csv: it has no rows."),
        ("circuit", "circuit.json", '{"a": []}', "a is no search of this config (value_fetcher, "),
        (
            "circuit",
            "circuit.json",
            json.dumps({name: [[9, 0]] for name in TINY}),
            "there is no head 9.0 of value_fetcher",
        ),
    ],
)
def test_a_config_says_which_file_of_which_model_does_not_fit(tmp_path, monkeypatch, key, path, text, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores.csv").touch()
    if "scroes" not in path:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    with pytest.raises(UserError) as refused:
        load_config(raw_config(tmp_path, **{key: path}), source="x.yaml")
    assert f"models[0].{key} (base): {path}: " in str(refused.value)
    assert said in str(refused.value)


def test_a_model_that_is_not_here_yet_is_checked_by_the_table_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = {"run": "mine", "base": "b", "models": [{"name": "b", "path": "org/model", "scores": "scores.csv"}]}
    written(tmp_path, tiny_scores())
    load_config(raw)
    written(tmp_path, tiny_scores().iloc[:-1])
    with pytest.raises(UserError, match=r"head 3\.3 of structure_reader has no score"):
        load_config(raw)
