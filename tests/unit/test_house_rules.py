"""What the code promises about itself: one name for one thing, short files, and functions that take few arguments."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = {
    str(path.relative_to(ROOT)): path
    for folder in ("entity_mech", "workflow", "benchmarks")
    for ending in ("py", "smk")
    for path in sorted((ROOT / folder).rglob(f"*.{ending}"))
}
SOURCES = [name for name in FILES if name.endswith(".py")]
PACKAGE = [name for name in SOURCES if name.startswith("entity_mech/")]
LINES, ARGUMENTS = 400, 7

# Names that two modules may share, and why.
SHARED = {
    "main": "the command line of a module that can be run",
    **dict.fromkeys(
        ("circuit_size", "completeness", "faithfulness", "overlap", "role_map"),
        "a method and the figure that is drawn of its table",
    ),
    "beside": "a dataset's kind of pair, and a published number beside a measured one",
}


def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def defined_twice(names: list[str]) -> dict[str, list[str]]:
    """Public functions and classes that several modules define, each with those modules."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for node in tree(name).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(name)
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many arguments a function takes; `self` and `cls` are among them."""
    a = node.args
    return len(a.posonlyargs + a.args + a.kwonlyargs) + bool(a.vararg) + bool(a.kwarg)


def test_one_name_is_one_thing():
    twice = defined_twice(PACKAGE)
    assert {name: modules for name, modules in twice.items() if name not in SHARED} == {}
    assert set(SHARED) - set(twice) == set(), "no longer defined twice: take it off the list"


def test_functions_take_few_arguments():
    functions = [
        (name, node)
        for name in SOURCES
        for node in ast.walk(tree(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(functions) > 500
    assert [f"{name}: {node.name}" for name, node in functions if arguments(node) > ARGUMENTS] == []


def test_files_are_short():
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in FILES.items()}
    assert {name: count for name, count in lines.items() if count > LINES} == {}


def test_no_test_module_imports_another_and_benchmarks_import_no_test():
    """What tests share is in tests/helpers, which the benchmarks may use too."""
    for path in [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                assert not module.rpartition(".")[2].startswith("test_"), path
                assert not module.startswith("tests.") or module.startswith("tests.helpers."), path
