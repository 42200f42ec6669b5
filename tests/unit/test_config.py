"""The config: defaults, what is refused and how it is said, and the files that are written from its models."""

from pathlib import Path

import pytest
import yaml

from entity_mech.config import generate
from entity_mech.config.files import as_yaml, run_name
from entity_mech.config.load import load_config
from entity_mech.config.schema import Config
from entity_mech.errors import UserError

ROOT = Path(__file__).parents[2]


def mistakes(raw: dict) -> list[str]:
    """The lines of the message with which a config is refused."""
    with pytest.raises(UserError) as refused:
        load_config(raw, source="x.yaml", check_files=False)
    head, *lines = str(refused.value).splitlines()
    assert head.startswith("x.yaml has ")
    return [line.removeprefix("  - ") for line in lines]


def search(name: str, letter: str, token: str, *receivers, **more) -> dict:
    found = [one if isinstance(one, str) else {"search": one[0], "input": one[1]} for one in receivers]
    return {"name": name, "letter": letter, "token": token, "receivers": found, **more}


A = search("a", "A", "last", "logits")


def test_an_empty_config_is_the_default_run():
    assert load_config({}, check_files=False) == Config()


def test_the_default_config_file_is_the_defaults():
    raw = yaml.safe_load((ROOT / generate.DEFAULT).read_text())
    assert load_config(raw, check_files=False) == Config()
    assert set(raw) == set(Config.model_fields)


def test_generated_files_are_as_the_models_say():
    assert generate.differing(ROOT) == []


def test_a_changed_file_is_noticed(tmp_path):
    for path in (generate.DEFAULT, generate.SCHEMA, generate.README, generate.STAGE_LIST, generate.RESOURCES):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text())
    (tmp_path / generate.DEFAULT).write_text("run: tiny\n")
    (tmp_path / generate.README).write_text(
        (tmp_path / generate.README).read_text().replace("| `seed` |", "| `sed` |")
    )
    assert generate.differing(tmp_path) == [tmp_path / generate.DEFAULT, tmp_path / generate.README]


def test_every_key_is_described_and_in_the_readme():
    readme = (ROOT / generate.README).read_text()
    for section in Config.__mro__[1].__subclasses__():
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
            assert f"`{name}" in readme or f".{name}`" in readme, f"{section.__name__}.{name}"


def test_the_schema_refuses_unknown_keys():
    schema = yaml.safe_load((ROOT / generate.SCHEMA).read_text())
    assert schema["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"serches": []}, ["serches: there is no such key", "Did you mean 'searches'?"]),
        ({"dcm": {"epoch": 3}}, ["dcm.epoch: there is no such key", "Did you mean 'epochs'?"]),
        ({"dcm": {"pairs": {"trian": 3}}}, ["dcm.pairs.trian", "Did you mean 'train'?"]),
        ({"dcm": {"ties": "fever"}}, ["dcm.ties: 'fever' is not one of: fewer, more. Did you mean 'fewer'?"]),
        ({"seed": -1}, ["seed: -1 should be at least 0."]),
        ({"seed": 1.5}, ["seed: 1.5 should be a whole number."]),
        ({"seed": "1"}, ["seed: '1' should be a whole number."]),
        ({"dcm": {"learning_rate": 0}}, ["dcm.learning_rate: 0 should be more than 0."]),
        ({"dcm": {"learning_rate": "fast"}}, ["dcm.learning_rate: 'fast' should be a number."]),
        ({"dcm": {"learning_rate": float("nan")}}, ["dcm.learning_rate: nan should be a finite number."]),
        ({"path_patching": {"null_map": 1}}, ["path_patching.null_map: 1 should be true or false."]),
        ({"run": 3}, ["run: 3 should be text"]),
        ({"run": "a/b"}, ["run: 'a/b' should be letters and digits"]),
        ({"run": "a__b"}, ["run: 'a__b' should be letters and digits"]),
        ({"dcm": None}, ["dcm: None should be keys with values."]),
        ({"models": []}, ["models: should not be empty."]),
        ({"models": [{"path": "x"}]}, ["models[0].name: this key is missing."]),
        ({"compute": {"batch_size": "aut"}}, ["compute.batch_size: 'aut' is not one of: auto, a whole number."]),
        ({"compute": {"batch_size": 0}}, ["compute.batch_size: 0 should be at least 1."]),
        ({"task": {"objects": 3}}, ["task.objects: 3 should be text or a list."]),
        ({"searches": [A | {"keep": "kne"}]}, ["searches[0].keep: 'kne'", "knee", "Did you mean 'knee'?"]),
        ({"searches": [A | {"token": "lst"}], "leave_out": ["probes"]}, ["searches[0].token: 'lst'", "mean 'last'?"]),
        ({"searches": [A | {"receivers": ["logit"]}]}, ["searches[0].receivers[0]", "Did you mean 'logits'?"]),
        ({"searches": [A | {"receivers": [{"search": "a"}]}]}, ["searches[0].receivers[0].input: this key"]),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_path_and_what_is_allowed(raw, said):
    found = mistakes(raw)
    assert len(found) == 1, found
    assert all(part in found[0] for part in said), found


def test_all_mistakes_are_said_at_once():
    found = mistakes(
        {
            "sed": 1,
            "dcm": {"ties": "x", "epochs": 0},
            "task": {"labels": "ABC"},
            "models": [{"name": "m", "path": "p", "base": "n"}],
            "base": "m",
            "searches": [A, A],
            "leave_out": ["probes"],
        }
    )
    starts = [line.split(":")[0] for line in found]
    assert sorted(starts) == sorted(["sed", "dcm.epochs", "dcm.ties", "task.labels", "models[0].base"])
    again = mistakes({"base": "m", "searches": [A, A], "leave_out": ["probes"]})
    assert [line.split(":")[0] for line in again] == ["base", "searches", "searches"]


def models(*names: str, **more) -> list[dict]:
    return [{"name": name, "path": f"{name}-folder", **more.get(name, {})} for name in names]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"base": "bas"}, "base: 'bas' is not a model's name: base, chat, lora, full. Did you mean 'base'?"),
        ({"models": models("base", "base")}, "models: two models are named 'base'."),
        ({"models": models("base", "Base")}, "differ in case alone"),
        ({"models": models("base", "m", m={"base": "bse"})}, "models[1].base: 'bse' is not another model's name"),
        ({"models": models("base", "m", m={"base": "m"})}, "models[1].base: 'm' is not another model's name"),
        ({"models": models("base", "m", m={"tokenizer": "x"})}, "models[1].tokenizer: 'x'"),
        ({"models": models("base", "m", m={"adapter": True})}, "models[1].base: an adapter needs the model"),
        ({"models": models("base", "m", base={"base": "m"}, m={"base": "base"})}, "goes in a circle"),
        ({"task": {"labels": "ABCDEFG"}}, "7 letters are too few for 7 boxes"),
        ({"task": {"labels": "ABCDEFGHA"}}, "A stands there twice"),
        ({"task": {"objects": ["a", "b"]}}, "2 objects are too few for 7 boxes"),
        ({"task": {"boxes": 2, "objects": ["a", "b", "c", "two words"]}}, "task.objects[3]: 'two words'"),
        ({"figures": {"formats": ["pdf"]}}, "png must be there"),
        ({"path_patching": {"mode": "refined", "shards": 2}}, "path_patching.shards: 2 with `mode: refined`"),
        ({"dcm": {"desiderata": ["object", "object", "position"]}}, "dcm.desiderata: 'object' stands there twice"),
        (
            {"dcm": {"desiderata": ["object"]}, "searches": [A | {"carries": "position"}]},
            "searches[0].carries: 'position' is not in dcm.desiderata: object.",
        ),
        ({"searches": [A, search("a", "B", "last", ("a", "q"))]}, "two searches are named 'a'"),
        ({"searches": [A, search("b", "A", "last", ("a", "q"))]}, "two searches have the letter A"),
        ({"searches": [A, search("b", "B", "last", ("c", "q"))]}, "searches[1].receivers[0].search: 'c'"),
        ({"searches": [search("b", "B", "last", ("a", "q")), A]}, "of which there are none here"),
        ({"searches": [A | {"receivers": ["logits", {"search": "a", "input": "q"}]}]}, "`logits` stands alone"),
        ({"searches": [A | {"token": "query_label"}]}, "the logits are read at the last token"),
        ({"searches": [A, search("b", "B", "label", ("a", "q"))]}, "q of a is read at its own token 'last'"),
        ({"searches": [A, search("b", "B", "last", ("a", "q"), ("a", "q"))]}, "q of a stands there twice"),
        (
            {"searches": [A, search("c", "C", "label", ("a", "v")), search("b", "B", "last", ("c", "k"))]},
            "c sits at 'label', which comes before 'last' and cannot see k there",
        ),
        ({"searches": [A]}, "probes.group: 'position_transmitter' is not a search's name: a."),
        (
            {"probes": {"group": "position_transmiter"}},
            "Did you mean 'position_transmitter'? Or put `probes` into leave_out.",
        ),
        ({"searches": [A | {"models": [{"model": "ful"}]}]}, "searches[0].models[0].model: 'ful'"),
        ({"searches": [A | {"models": [{"model": "full"}, {"model": "full"}]}]}, "'full' stands there twice"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(raw, said):
    found = mistakes(raw)
    assert any(said in line for line in found), found


def test_aliases_of_a_token_are_the_same_token():
    chain = [
        A,
        search("c", "C", "previous_label", ("a", "v")),
        search("d", "D", "label", ("c", "q"), ("c", "k")),
        search("e", "E", "correct_object", ("d", "v")),
    ]
    assert len(load_config({"searches": chain, "leave_out": ["probes"]}, check_files=False).searches) == 4


def test_folders_and_word_lists_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "llama").mkdir(parents=True)
    raw = {
        "base": "a",
        "models": [{"name": "a", "path": "mine/lama"}, {"name": "b", "path": "./mine/llama", "base": "a"}],
        "task": {"objects": "wrds.txt"},
    }
    with pytest.raises(UserError) as refused:
        load_config(raw)
    message = str(refused.value)
    assert "models[0].path: 'mine/lama' is no folder. Did you mean 'mine/llama'?" in message
    assert "models[1] (b)" in message
    assert "config.json" in message
    assert "task.objects: there is no file 'wrds.txt'" in message


def test_counts_of_a_model_stand_in_for_those_of_the_search():
    own = {"models": [{"model": "full", "keep": 7}, {"model": "chat", "receiver_heads": 2, "keep": "knee"}]}
    searches = [A | {"receiver_heads": 5, "keep": 9} | own]
    config = load_config({"searches": searches, "probes": {"group": "a"}}, check_files=False)
    counts = {name: config.searches_for(name)[0] for name in ("base", "chat", "full")}
    assert [(one.receiver_heads, one.keep) for one in counts.values()] == [(5, 9), (2, "knee"), (5, 7)]


def test_fine_tuned_models_descend_from_the_base_of_the_study():
    raw = {
        "base": "taught",
        "models": models(
            "raw", "taught", "lora", "twice", taught={"base": "raw"}, lora={"base": "taught"}, twice={"base": "lora"}
        ),
    }
    assert load_config(raw, check_files=False).fine_tuned() == ["lora", "twice"]


def test_the_papers_config_has_the_papers_models_chain_and_counts():
    raw = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    config = load_config(raw, check_files=False)
    assert [model.name for model in config.models] == ["llama-7b", "vicuna-7b", "goat-7b", "float-7b"]
    assert config.fine_tuned() == ["vicuna-7b", "goat-7b", "float-7b"]
    chain = [(one.letter, one.token, [getattr(r, "input", r) for r in one.receivers]) for one in config.searches]
    assert chain == [
        ("A", "last", ["logits"]),
        ("B", "last", ["q"]),
        ("C", "query_label", ["v"]),
        ("D", "previous_label", ["v"]),
    ]
    counts = {
        name: [(one.receiver_heads, one.keep) for one in config.searches_for(name)] for name in config.sources()
    }
    assert counts["llama-7b"] == counts["vicuna-7b"]
    assert [keep for _, keep in counts["llama-7b"]] == [58, 10, 25, 5]
    assert [keep for _, keep in counts["goat-7b"]] == [101, 30, 50, 40]
    assert [keep for _, keep in counts["float-7b"]] == [102, 30, 50, 40]
    assert [heads for heads, _ in counts["llama-7b"][:3]] == [20, 5, 10]
    assert (
        [heads for heads, _ in counts["goat-7b"][:3]]
        == [heads for heads, _ in counts["float-7b"][:3]]
        == [50, 20, 30]
    )


def test_the_name_of_a_run_is_known_without_checking():
    assert (run_name({}), run_name({"run": "x", "base": 3})) == ("tiny", "x")


def test_words_inside_a_value_of_the_command_line_are_read_as_yaml():
    given = {"epochs": "3", "pairs": {"train": "10"}, "desiderata": ["object"], "ties": "more", "odd": "{"}
    read = {"epochs": 3, "pairs": {"train": 10}, "desiderata": ["object"], "ties": "more", "odd": "{"}
    assert as_yaml(given) == read
    assert (as_yaml("3"), as_yaml(3), as_yaml(None)) == ("3", 3, None)
