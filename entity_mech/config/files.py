"""Where a config comes in: files of YAML, and `name=value` on the command line. What cannot be read is said here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from entity_mech.config.messages import nearest, not_among
from entity_mech.config.schema import Config
from entity_mech.errors import UserError, shown

MOST_BYTES = 300_000  # of a config file; a second to read
_MOST_VALUES, _DEEPEST = 100_000, 30
# What PyYAML lets through from the functions that turn text into dates, numbers, ...
_BROKEN = (ValueError, KeyError, AttributeError, TypeError, RecursionError, OverflowError)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which refuses a key that stands twice in one mapping."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if first := seen.get((key.tag, key.value)):
                    raise UserError(f"line {line}: the key {key.value!r} is there already, in line {first}")
                seen[key.tag, key.value] = line
        return node


def read_config(path: str | Path) -> dict[str, Any]:
    """The mapping that a config file holds.

    Raises UserError where there is no such file, where it is no text, no YAML or no mapping, and where a key stands
    twice.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"there is no config file {str(path)!r}.{nearest(path, _config_files(path))}")
    if not path.is_file():
        raise UserError(f"{path} is {'a folder' if path.is_dir() else 'no file'}; a config is a file of YAML")
    if path.stat().st_size > MOST_BYTES:
        raise UserError(
            f"the config file {path} has {path.stat().st_size:,} bytes, more than the {MOST_BYTES:,} that a config "
            "may have; put a long list of words into a file of its own and name it in task.objects"
        )
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"the config file {path} is not UTF-8 text (byte {error.start + 1})") from None
    except OSError as error:
        raise UserError(f"the config file {path} cannot be read: {error.strerror}") from None
    try:
        found = parse_yaml(text)
    except UserError as error:
        raise UserError(f"the config file {path}, {error}") from None
    if not isinstance(found, dict):
        what = "is empty" if found is None else f"holds {shown(found)}"
        raise UserError(f"the config file {path} {what}; it should hold keys with values, such as `run: mine`")
    return found


def _config_files(missing: Path) -> list[str]:
    folders = dict.fromkeys([missing.parent, Path("config"), Path()])
    return [str(file) for folder in folders if folder.is_dir() for file in sorted(folder.glob("*.y*ml"))]


def parse_yaml(text: str) -> Any:
    """What YAML text says. Raises UserError that says where it cannot be read, to be read behind a file's name."""
    try:
        found = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{where}this is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise UserError(f"this is not YAML: {str(error).splitlines()[0]}") from None
    except _BROKEN as error:
        raise UserError(f"a value cannot be read ({type(error).__name__}: {error})") from None
    _check_plain(found)
    return found


def _check_plain(value: Any) -> None:
    """Raise UserError for keys that are no text, and for anchors that make a value endless or huge."""
    todo, seen = [(value, 0)], 0
    while todo:
        one, depth = todo.pop()
        seen += 1
        if depth > _DEEPEST or seen > _MOST_VALUES:
            raise UserError("its values are nested too deeply, or too many")
        if isinstance(one, dict):
            for key, inner in one.items():
                if not isinstance(key, str):
                    raise UserError(f"the key {shown(key)} should be text")
                todo.append((inner, depth + 1))
        elif isinstance(one, (list, set, tuple)):
            todo += [(inner, depth + 1) for inner in one]


def read_assignments(given: Iterable[str]) -> dict[str, Any]:
    """Keys and values of `--config name=value ...`. Raises UserError for another form and for an unknown key."""
    found: dict[str, Any] = {}
    for text in given:
        name, sign, value = str(text).partition("=")
        if not sign:
            raise UserError(f"--config {text}: should be key=value, such as `--config seed=1 'dcm={{epochs: 3}}'`")
        if name not in Config.model_fields:
            section, _, inner = name.partition(".")
            if inner and section in Config.model_fields:
                raise UserError(f"--config {text}: write --config '{section}={{{inner}: {value}}}'")
            raise UserError(f"--config {not_among((name,), name, 'a key of a config', list(Config.model_fields))}")
        found[name] = _word(value)
    return found


def as_yaml(value: Any) -> Any:
    """A value whose words, inside lists and mappings, are read as YAML reads them: `{"epochs": "3"}` gives 3."""
    if isinstance(value, Mapping):
        return {name: as_yaml(inner) if not isinstance(inner, str) else _word(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_yaml(inner) if not isinstance(inner, str) else _word(inner) for inner in value]
    return value


def _word(text: str) -> Any:
    try:
        return parse_yaml(text)
    except UserError:
        return text


def run_name(raw: Mapping[str, Any]) -> str:
    """The name of a run, from a config that is not checked."""
    return str(raw.get("run", Config.model_fields["run"].default))
