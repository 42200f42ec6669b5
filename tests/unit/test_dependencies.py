"""pyproject.toml, environment.yml and constraints.txt name the same packages, and those are installed."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"pytorch": "torch"}
IMPORTED_AS = {"pyyaml": "yaml"}


def named(requirements) -> dict[str, Requirement]:
    found = [Requirement(text) for text in requirements]
    assert len({canonicalize_name(one.name) for one in found}) == len(found), "a package stands there twice"
    return {canonicalize_name(one.name): one for one in found}


NEEDED = named(PROJECT["dependencies"])
EXTRAS = {name: named(requirements) for name, requirements in PROJECT["optional-dependencies"].items()}
PINS = named(
    line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")
)


def pinned(name: str) -> Version:
    (exact,) = PINS[name].specifier
    assert exact.operator == "==", PINS[name]
    return Version(exact.version)


def test_conda_gets_the_same_packages_in_the_same_ranges():
    given = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert all(isinstance(one, str) for one in given)
    conda = named(given)
    python = conda.pop("python")
    assert str(python.specifier) == PROJECT["requires-python"]
    renamed = {CONDA_NAMES.get(name, name): one.specifier for name, one in conda.items()}
    assert renamed == {name: one.specifier for name, one in NEEDED.items()}


@pytest.mark.parametrize("group", ["dependencies", *EXTRAS])
def test_every_package_is_pinned_within_its_range(group):
    for name, requirement in (EXTRAS.get(group) or NEEDED).items():
        assert name in PINS, f"{name} has no pin in constraints.txt"
        assert pinned(name) in requirement.specifier, f"{name}: {pinned(name)} is not in {requirement.specifier}"


def test_every_needed_package_is_imported():
    code = "\n".join(
        path.read_text() for folder in ("entity_mech", "workflow") for path in (ROOT / folder).rglob("*.py")
    )
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", code, re.MULTILINE))
    modules = {name: IMPORTED_AS.get(name, name.replace("-", "_")) for name in NEEDED}
    assert {name for name, module in modules.items() if module not in imported} == set()


def test_what_the_needed_packages_need_is_pinned_too():
    todo, seen = [*NEEDED, *EXTRAS["test"]], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for text in metadata.requires(name) or []:
            inner = Requirement(text)
            if inner.marker is None or inner.marker.evaluate({"extra": ""}):
                todo.append(canonicalize_name(inner.name))
    assert sorted(seen - set(PINS)) == []


def test_pins_are_plain_versions_from_the_registry():
    for name, pin in PINS.items():
        assert pin.url is None
        assert pinned(name).local is None, f"{name}: a local version like +cpu cannot be had elsewhere"


def test_the_installed_packages_are_the_pinned_ones():
    for name in (*NEEDED, *EXTRAS["test"]):
        assert Version(metadata.version(name)).public == pinned(name).public, name
