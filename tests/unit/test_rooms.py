"""The rooms of the package and who may import whom: data walks task -> models -> engine -> methods -> reporting."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "entity_mech"
# In the order in which data walks: a room imports from itself and from rooms before it.
ROOMS = ("task", "models", "engine", "methods", "reporting")
# What every room may use, in an order of its own: a module imports from those before it.
GROUND = ("errors", "seals", "table_schemas", "files", "hdf5", "progress", "provenance")
# What stands above the rooms: the table of stages, which reporting may read, and the config, which no room imports.
ABOVE = {"stages": GROUND, "config": (*GROUND, "task", "models", "stages")}
# What serves the workflow alone: it may import everything and nothing imports it.
BESIDE = ("command_line", "failures", "kept", "report_file", "rule_files")
# Imports that break the order for a reason: (file, module) -> why.
EXCEPTIONS: dict[tuple[str, str], str] = {}
# Packages that only some rooms may load.
LOADED_BY = {
    "torch": {"models", "engine", "methods"},
    "transformers": {"task", "models"},
    "peft": {"models"},
    "matplotlib": {"reporting", "config"},  # the config looks their names up
    "seaborn": {"reporting", "config"},
    "snakemake": set(),
}


def room_of(parts: tuple[str, ...]) -> str:
    """The room of a module, by its dotted name's parts below the package."""
    return "config" if parts[0].startswith("config_") else parts[0]


def allowed(room: str) -> set[str]:
    """What a room's files may import from, itself included."""
    if room in ROOMS:
        return {*GROUND, *ROOMS[: ROOMS.index(room) + 1], *(["stages"] if room == "reporting" else [])}
    if room in GROUND:
        return set(GROUND[: GROUND.index(room) + 1])
    if room in ABOVE:
        return {room, *ABOVE[room]}
    return {*GROUND, *ROOMS, *ABOVE, *BESIDE}


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names that are imported when the code runs, inside functions too; not those for type checking alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports inside the package are written out"
            assert node.module
            if node.module == PACKAGE.name:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module
        else:
            yield from imports(node)


def wrong_imports(file: str, text: str) -> list[str]:
    """Imports of a file (its path below the package) that the order of rooms does not allow."""
    room, found = room_of(Path(file).with_suffix("").parts), []
    for name in imports(ast.parse(text)):
        first, *rest = name.split(".")
        if first == PACKAGE.name:
            if room_of(tuple(rest)) not in allowed(room) and (file, name) not in EXCEPTIONS:
                found.append(name)
        elif first in LOADED_BY and room not in LOADED_BY[first] and (file, name) not in EXCEPTIONS:
            found.append(name)
    return found


def files() -> dict[str, str]:
    return {str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}


def test_every_import_follows_the_order_of_rooms():
    found = {file: wrong_imports(file, text) for file, text in files().items()}
    assert {file: wrong for file, wrong in found.items() if wrong} == {}


def test_every_file_is_in_a_room():
    named = {room_of(Path(file).with_suffix("").parts) for file in files()}
    assert named - {*ROOMS, *GROUND, *ABOVE, *BESIDE, "__init__"} == set()
    assert {*ROOMS, *GROUND} <= named


@pytest.mark.parametrize(
    ("room", "after"), [("task", "engine"), ("models", "engine"), ("engine", "methods"), ("methods", "reporting")]
)
def test_the_rooms_use_one_another(room, after):
    """The test reads real imports."""
    used = {name for file, text in files().items() if file.startswith(after) for name in imports(ast.parse(text))}
    assert any(name.startswith(f"{PACKAGE.name}.{room}.") for name in used)


def test_exceptions_are_needed():
    texts = files()
    assert [key for key in EXCEPTIONS if key[1] not in imports(ast.parse(texts[key[0]]))] == []


def test_init_files_are_empty():
    assert [file for file, text in files().items() if file.endswith("__init__.py") and text.strip()] == []


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("engine/a.py", "from entity_mech.methods.dcm import run_dcm", ["entity_mech.methods.dcm"]),
        ("methods/a.py", "from entity_mech import config", ["entity_mech.config"]),
        ("reporting/a.py", "def f():\n    import torch", ["torch"]),
        ("task/a.py", "import entity_mech.models.decoder", ["entity_mech.models.decoder"]),
        ("models/a.py", "import snakemake.utils", ["snakemake.utils"]),
        ("files.py", "from entity_mech.provenance import digest_of", ["entity_mech.provenance"]),
        ("methods/a.py", "if TYPE_CHECKING:\n    from entity_mech.config import Config", []),
        ("methods/a.py", "from entity_mech.engine.store import Head\nimport numpy", []),
    ],
)
def test_a_wrong_import_is_found(file, text, wrong):
    assert wrong_imports(file, text) == wrong
