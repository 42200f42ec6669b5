"""Anything at all in a config, a model's folder or a list of words: a clear error or success, soon, and nothing else.

The examples are the same in every run. What is found here and mended goes into the table of test_bad_inputs.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from entity_mech.config.files import parse_yaml, read_config
from entity_mech.config.load import load_config
from entity_mech.config.schema import Config
from entity_mech.errors import UserError
from entity_mech.models.checks import problems
from entity_mech.models.config_values import ADAPTER_KEYS, MODEL_KEYS
from entity_mech.models.folders import weight_files
from entity_mech.models.sources import ModelSource
from entity_mech.models.tensorfiles import read_headers
from entity_mech.task.words import read_word_list
from tests.helpers.entrances import BASE, LORA
from tests.helpers.snakemake_runs import ROOT

SECONDS = 10
often = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
DEFAULTS = Config().model_dump()
MODEL = json.loads((BASE / "config.json").read_text())
ADAPTER = json.loads((LORA / "adapter_config.json").read_text())

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**30, 10**400]),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "auto", "knee", "logits", "last", "null", "{x}", "</script>", "../x", "~", "a" * 300, "\0"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6) | st.sampled_from(["name", "path"]), inner)
    ),
    max_leaves=6,
)


def told(take_in: Callable[[], Any]) -> str | None:
    """What the user is told; None where the input is taken. Any other exception fails the test."""
    start = time.monotonic()
    try:
        take_in()
        message = None
    except UserError as error:
        message = str(error)
    assert time.monotonic() - start < SECONDS
    assert message is None or message.strip()
    return message


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "demo_models").symlink_to(ROOT / "demo_models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in nested mappings and lists."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def put(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A tree with another value in one place."""
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = put(tree[path[0]], path[1:], value)
    return copy


@often
@given(st.lists(st.tuples(st.sampled_from(places(DEFAULTS)[1:]), values), min_size=1, max_size=3))
def test_other_values_in_the_default_config(place: Path, changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    raw: Any = DEFAULTS
    for path, value in changes:
        assume(path in places(raw))
        raw = put(raw, path, value)
    told(lambda: load_config(raw))


@often
@given(st.dictionaries(st.sampled_from(list(DEFAULTS)) | st.text(max_size=8), values, max_size=4))
def test_any_mapping_as_a_config(place: Path, raw: dict[str, Any]) -> None:
    told(lambda: load_config(raw))


@often
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_as_a_config_file(place: Path, content: bytes) -> None:
    Path("config.yaml").write_bytes(content)
    told(lambda: load_config(read_config("config.yaml")))


marks = st.sampled_from(
    ["a: ", "- ", "&x ", "*x", "!!", "int ", "float ", "set", "? ", "<<: ", "[", "]", "{", "}", "\n", "  ", "'", '"']
) | st.sampled_from(["2001-1-1", "0x", "1e", "|\n", ": ", "#", "%YAML 1.1", "---", "..."])


@often
@given(st.lists(marks, max_size=14).map("".join))
def test_anything_made_of_the_marks_of_yaml(text: str) -> None:
    told(lambda: parse_yaml(text))


@often
@given(st.lists(st.tuples(st.sampled_from(places(MODEL)[1:] + [(key,) for key in MODEL_KEYS]), values), min_size=1))
def test_other_values_in_a_models_config(place: Path, changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    if not Path("m").exists():
        shutil.copytree(BASE, "m")
    raw: Any = {**dict.fromkeys(MODEL_KEYS), **MODEL}
    for path, value in changes:
        assume(path in places(raw))
        raw = put(raw, path, value)
    Path("m/config.json").write_text(json.dumps(raw))
    told(lambda: problems(ModelSource("m", "m")))
    told(lambda: load_config({"base": "m", "models": [{"name": "m", "path": "m"}]}))


@often
@given(st.lists(st.tuples(st.sampled_from(list(ADAPTER_KEYS)), values), min_size=1, max_size=3))
def test_other_values_in_an_adapters_config(place: Path, changes: list[tuple[str, Any]]) -> None:
    if not Path("a").exists():
        shutil.copytree(LORA, "a")
    Path("a/adapter_config.json").write_text(json.dumps({**ADAPTER, **dict(changes)}))
    models = [{"name": "base", "path": str(BASE)}, {"name": "a", "path": "a", "base": "base"}]
    told(lambda: load_config({"models": models}))


@often
@given(st.sampled_from(["config.json", "tokenizer.json", "tokenizer_config.json"]), values)
def test_any_json_as_a_file_of_a_model(place: Path, name: str, value: Any) -> None:
    if not Path("m").exists():
        shutil.copytree(BASE, "m")
    whole = Path("m", name).read_text()
    Path("m", name).write_text(json.dumps(value))
    told(lambda: load_config({"base": "m", "models": [{"name": "m", "path": "m"}]}))
    Path("m", name).write_text(whole)


@often
@given(values)
def test_any_json_as_an_index_of_weights(tmp_path: Path, value: Any) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": value}))
    told(lambda: weight_files(tmp_path))


@often
@given(st.binary(max_size=40), values)
def test_any_header_of_weights(tmp_path: Path, rest: bytes, header: Any) -> None:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": header}
    for content in (header, {"a": header}, {"a": entry}):
        text = json.dumps(content).encode()
        (tmp_path / "w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + rest)
        told(lambda: read_headers([tmp_path / "w.safetensors"]))


@often
@given(
    st.sampled_from(["words.txt", "words.csv"]),
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.lists(st.sampled_from(["object", "cup", "key", '"', ",", "\n", "\r\n", " ", "\ufeff", "\0", ";", "{", "é"]))
    .map("".join)
    .map(str.encode),
)
def test_anything_as_a_list_of_words(place: Path, name: str, content: bytes) -> None:
    Path(name).write_bytes(content)
    told(lambda: read_word_list(name))
    told(lambda: load_config(yaml.safe_load(f"task: {{objects: {name}}}")))
