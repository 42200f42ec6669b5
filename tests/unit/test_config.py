"""The config: defaults, what is refused and how it is said, and the files that are written from its models."""

from pathlib import Path

import pytest
import yaml

from entity_mech.config import generate
from entity_mech.config.files import as_yaml, run_name
from entity_mech.config.load import load_config
from entity_mech.config.notes import notes
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
    for path in (path.relative_to(ROOT) for path in generate.files(ROOT)):
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


def values_of(kinds: set[str], schema: dict, where: str = "") -> dict[str, dict]:
    """Every value of these kinds in a schema, by its place."""
    found = {where: schema} if schema.get("type") in kinds else {}
    for inner, value in schema.items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                found |= values_of(kinds, part, f"{where}.{inner}" if inner not in ("anyOf", "oneOf") else where)
    return found


def test_every_number_has_bounds_and_every_text_an_end():
    schema = yaml.safe_load((ROOT / generate.SCHEMA).read_text())
    found = values_of({"integer", "number"}, schema)
    assert len(found) > 40
    low, high = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
    assert [name for name, one in found.items() if not (low & set(one) and high & set(one))] == []
    # What is held against a list of names needs no end, nor do words, which have rules of their own.
    named = {"base", "tokenizer", "token", "search", "group", "model", "items"}
    texts = values_of({"string"}, schema)
    endless = [name for name, one in texts.items() if not {"enum", "const", "pattern", "maxLength"} & set(one)]
    assert {name.split(".")[-1] for name in endless} <= named, endless


def test_the_schema_refuses_unknown_keys():
    schema = yaml.safe_load((ROOT / generate.SCHEMA).read_text())
    assert schema["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())


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


def test_masks_that_can_just_choose_a_head_are_allowed():
    five_steps, one_large_step = {"train": 160}, {"train": 32}
    load_config({"dcm": {"pairs": five_steps, "epochs": 1, "validate_every": 1}}, check_files=False)
    load_config({"dcm": {"pairs": one_large_step, "learning_rate": 0.5}, "leave_out": ["probes"]}, check_files=False)


def test_too_few_prompts_for_the_threshold_are_a_note():
    few = load_config({"prompts": {"pruning": 140}}, check_files=False)
    assert notes(few) == [
        "prompts.pruning: 140 prompts are too few for pruning.threshold = 0.01: the 2 prompts of "
        "pruning.least_prompts are 1.4% of them, and a head stays only where it costs as much. The threshold decides "
        "from 200 prompts on."
    ]
    for own in ({"threshold": 0.015}, {"least_prompts": 1}, {"threshold": 0}):
        assert notes(load_config({"prompts": {"pruning": 140}, "pruning": own}, check_files=False)) == []
    assert notes(load_config({}, check_files=False)) == []


def models(*names: str, **more) -> list[dict]:
    return [{"name": name, "path": f"{name}-folder", **more.get(name, {})} for name in names]


def test_aliases_of_a_token_are_the_same_token():
    chain = [
        A,
        search("c", "C", "previous_label", ("a", "v")),
        search("d", "D", "label", ("c", "q"), ("c", "k")),
        search("e", "E", "correct_object", ("d", "v")),
    ]
    assert len(load_config({"searches": chain, "leave_out": ["probes"]}, check_files=False).searches) == 4


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
