"""Files written from the config's models and the table of stages: defaults, schema, tables in documents.

python -m entity_mech.config.generate write    # write them
python -m entity_mech.config.generate check    # say which of them differ from the models
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from entity_mech.config.schema import Config
from entity_mech.config.sections import Model, ModelCounts, Receiver, Search
from entity_mech.models.families.table import family_table
from entity_mech.stages.derived import resource_table, stage_list

DEFAULT = Path("config/config.yaml")
SCHEMA = Path("workflow/schemas/config.schema.yaml")
README = Path("config/README.md")
STAGE_LIST = Path("README.md")
RESOURCES = Path("docs/clusters.md")
FAMILY_LIST = Path("docs/architecture.md")
BEGIN = "<!-- {}: written by `python -m entity_mech.config.generate write`; do not edit below -->"
END = "<!-- end of {} -->"
_WIDTH = 108
_HEADER = """\
# The default run: the small models that ship with the project, minutes on two CPU cores.
# Written from entity_mech/config by `python -m entity_mech.config.generate write`; a test fails when they differ.
# For a run of your own write a file with just the keys that differ, and start it with --configfile FILE.
"""
_SCHEMA_HEADER = """\
# JSON schema of a config file, for editors. Written from entity_mech/config by
# `python -m entity_mech.config.generate write`; a test fails when they differ.
"""


def default_yaml() -> str:
    """config/config.yaml: every key with its meaning and its default."""
    return _HEADER + "".join(f"\n{block}" for block in _blocks(Config(), 0))


def _blocks(section: BaseModel, indent: int) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        yield textwrap.indent(_comment(field) + _entry(name, getattr(section, name)), " " * indent)


def _comment(field: FieldInfo) -> str:
    unit = _extra(field, "x-unit")
    text = f"{field.description}" + (f" [{unit}]" if unit else "")
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH - 4, break_long_words=False))


def _entry(name: str, value: Any) -> str:
    if isinstance(value, BaseModel):
        return f"{name}:\n" + "".join(_blocks(value, 2))
    if isinstance(value, list) and value and isinstance(value[0], BaseModel):
        return f"{name}:\n" + "".join(textwrap.indent(_item(item), "  ") for item in value)
    return f"{name}: {_flow(value)}\n"


def _item(item: BaseModel) -> str:
    """An item of a list, without the keys that have their default."""
    given = item.model_dump(exclude_defaults=True)
    lines = [f"{name}: {_flow(value)}\n" for name, value in given.items()]
    return "- " + "  ".join(lines)


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def schema_yaml() -> str:
    """workflow/schemas/config.schema.yaml."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    return _SCHEMA_HEADER + yaml.safe_dump(schema, sort_keys=False, width=_WIDTH, allow_unicode=True)


def key_tables() -> str:
    """The tables of keys of config/README.md: one for the top level, one for each section."""
    schema = Config.model_json_schema()
    definitions = schema["$defs"]
    top = [name for name, field in Config.model_fields.items() if not _is_section(field)]
    parts = ["### The run", _table(Config, top, schema, definitions)]
    for path, section, text in _sections():
        names = list(section.model_fields)
        parts += [f"### `{path}`", text, _table(section, names, definitions[section.__name__], definitions)]
    return "\n\n".join(parts)


def _sections() -> Iterator[tuple[str, type[BaseModel], str]]:
    """(path, section, what it is) in the order of the config."""
    lists: dict[str, list[tuple[str, type[BaseModel]]]] = {
        "models": [("models[]", Model)],
        "searches": [
            ("searches[]", Search),
            ("searches[].receivers[]", Receiver),
            ("searches[].models[]", ModelCounts),
        ],
    }
    for name, field in Config.model_fields.items():
        for path, section in lists.get(name, []):
            yield path, section, str(section.__doc__).strip()
        if _is_section(field):
            yield from _nested(name, field)


def _nested(path: str, field: FieldInfo) -> Iterator[tuple[str, type[BaseModel], str]]:
    section = field.annotation
    assert isinstance(section, type)
    yield path, section, f"{section.__doc__}".strip()
    for name, inner in section.model_fields.items():
        if _is_section(inner):
            yield from _nested(f"{path}.{name}", inner)


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _table(section: type[BaseModel], names: list[str], schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    rows = ["| key | meaning | allowed | unit | default | cost |", "|---|---|---|---|---|---|"]
    for name in names:
        field = section.model_fields[name]
        if _is_section(field):
            continue
        cells = [
            f"`{name}`",
            f"{field.description}",
            _allowed(schema["properties"][name], definitions),
            _extra(field, "x-unit"),
            _default(field),
            _extra(field, "x-cost"),
        ]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(must be given)"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, list) and value and isinstance(value[0], BaseModel):
        return "see `config.yaml`"
    return "" if value is None else f"`{_flow(value)}`"


def _allowed(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a key takes, in words."""
    if "$ref" in schema:
        return _allowed(definitions[schema["$ref"].split("/")[-1]], definitions)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            sides = [_allowed(side, definitions) for side in schema[choice] if side.get("type") != "null"]
            return " or ".join(dict.fromkeys(sides))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{word}`" for word in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_allowed(schema['items'], definitions)}".replace("list of keys", "list; keys of an item")
    if schema.get("type") == "object":
        return "keys: " + ", ".join(f"`{name}`" for name in schema["properties"])
    if "x-words" in schema:
        return str(schema["x-words"])
    kinds = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    return kinds[schema["type"]] + _limits(schema)


def _limits(schema: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[name]:,}" for name, sign in signs.items() if name in schema]
    return " " + ", ".join(limits) if limits else ""


def _extra(field: FieldInfo, name: str) -> str:
    extra = field.json_schema_extra
    return str(extra.get(name, "")) if isinstance(extra, dict) else ""


def renewed(path: Path, name: str, table: str) -> str:
    """A document with the table between its marks of this name written anew.

    Raises ValueError where the marks are missing.
    """
    text, begin, end = path.read_text(encoding="utf-8"), BEGIN.format(name), END.format(name)
    if begin not in text or end not in text:
        raise ValueError(f"{path} has lost the marks between which its {name} are written")
    return f"{text.split(begin)[0]}{begin}\n\n{table}\n\n{end}{text.split(end)[1]}"


def files(root: Path = Path()) -> dict[Path, str]:
    """What each generated file should hold."""
    return {
        root / DEFAULT: default_yaml(),
        root / SCHEMA: schema_yaml(),
        root / README: renewed(root / README, "keys", key_tables()),
        root / STAGE_LIST: renewed(root / STAGE_LIST, "stages", stage_list()),
        root / FAMILY_LIST: renewed(root / FAMILY_LIST, "families", family_table()),
        root / RESOURCES: renewed(root / RESOURCES, "resources", resource_table()),
    }


def differing(root: Path = Path()) -> list[Path]:
    """Generated files that are missing or not what they should be."""
    return [
        path for path, text in files(root).items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Exit status of `write` and `check`."""
    if arguments not in (["write"], ["check"]):
        print(__doc__)
        return 2
    found = differing()
    if arguments == ["write"]:
        for path, text in files().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    said = "written" if arguments == ["write"] else "is not what entity_mech/config and entity_mech/stages say"
    for path in found:
        print(f"{path} {said}")
    return 1 if found and arguments == ["check"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
