"""Code digests follow the code that a script uses, and nothing else."""

import json
import shutil
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from entity_mech import provenance
from entity_mech.errors import UserError
from entity_mech.provenance import (
    code_digest,
    file_digest,
    peak_memory_mb,
    value_digest,
    versions,
    write_resolved_config,
)

FILES = {
    "entity_mech/__init__.py": "",
    "entity_mech/errors.py": "class UserError(Exception): ...\n",
    "entity_mech/far.py": "x = 1\n",
    "entity_mech/unused.py": "x = 1\n",
    "entity_mech/typed.py": "class T: ...\n",
    "entity_mech/methods/__init__.py": "",
    "entity_mech/methods/near.py": '''
        """What it does."""
        from __future__ import annotations
        from typing import TYPE_CHECKING
        from .deep import helper
        if TYPE_CHECKING:
            from entity_mech.typed import T

        def run(a: int = 3) -> T:
            """Docstring."""
            import entity_mech.far as far  # inside
            return helper(a) + far.x
    ''',
    "entity_mech/methods/deep.py": "from entity_mech import errors\ndef helper(a): return a\n",
    "scripts/one.py": "from entity_mech.methods.near import run\nfrom entity_mech.methods import deep\nrun()\n",
    "scripts/two.py": "import json\nfrom _run import job\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(dedent(text).lstrip())
    return tmp_path


def digest(root: Path, script: str = "one") -> str:
    return code_digest(root / "scripts" / f"{script}.py", root=root)


def edit(root: Path, name: str, old: str, new: str) -> None:
    path = root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("scripts/one.py", "run()", "run(4)"),
        ("entity_mech/methods/near.py", "a: int = 3", "a: int = 4"),
        ("entity_mech/methods/deep.py", "return a", "return a + 1"),
        ("entity_mech/far.py", "x = 1", "x = 2"),
        ("entity_mech/errors.py", "Exception", "ValueError"),
    ],
    ids=["the script", "an import", "a relative import", "an import in a function", "an import's import"],
)
def test_an_edit_of_code_that_is_used_changes_the_digest(root, name, old, new):
    before = digest(root)
    edit(root, name, old, new)
    after = digest(root)
    assert before != after
    edit(root, name, new, old)
    assert digest(root) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("entity_mech/methods/near.py", "# inside", "# somewhere else"),
        ("entity_mech/methods/near.py", "Docstring.", "Another docstring, which is longer."),
        ("entity_mech/methods/near.py", '"""What it does."""\n', ""),
        ("entity_mech/methods/near.py", "helper(a) + far.x", "(helper(a)\n            + far.x)"),
        ("entity_mech/methods/deep.py", "def helper(a): return a", "def helper(a):\n\n    return a"),
        ("entity_mech/unused.py", "x = 1", "x = 2"),
        ("entity_mech/typed.py", "class T", "class U"),
    ],
    ids=["a comment", "a docstring", "no docstring", "formatting", "lines", "unused", "for type checking alone"],
)
def test_other_edits_do_not(root, name, old, new):
    before = digest(root)
    edit(root, name, old, new)
    assert digest(root) == before


def test_a_script_that_uses_nothing_of_the_package_does_not_follow_it(root):
    before = digest(root, "two")
    edit(root, "entity_mech/methods/deep.py", "return a", "return a + 1")
    assert digest(root, "two") == before
    assert digest(root, "two") != digest(root, "one")


def test_neither_place_nor_time_counts(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere") / "copy"
    for name in FILES:
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes((root / name).read_bytes())
    assert digest(root) == digest(other)


def test_modules_can_be_named(root):
    assert code_digest("entity_mech.far", root=root) != code_digest("entity_mech.errors", root=root)


@pytest.mark.parametrize("text", [None, "def f(:\n"])
def test_a_script_that_is_no_python_is_refused_by_name(root, text):
    if text is not None:
        (root / "scripts/bad.py").write_text(text)
    with pytest.raises(UserError, match=r"bad\.py cannot be read as Python"):
        digest(root, "bad")


def test_remembered_digests_are_those_of_the_content(root):
    memory, script = root / "kept" / "digests.json", root / "scripts" / "one.py"
    plain = digest(root)
    assert code_digest(script, root=root, memory=memory) == plain
    assert len(json.loads(memory.read_text())) > 5
    provenance._remembered.cache_clear()
    provenance._read_version.cache_clear()
    assert code_digest(script, root=root, memory=memory) == plain
    edit(root, "entity_mech/far.py", "x = 1", "x = 2")
    assert code_digest(script, root=root, memory=memory) == digest(root) != plain
    memory.write_text("no JSON")
    provenance._remembered.cache_clear()
    assert code_digest(script, root=root, memory=memory) == digest(root)


def test_scripts_of_the_workflow_follow_what_they_use(tmp_path):
    """The real scripts, in a copy: an edit of DCM's code changes DCM's digest and not path patching's."""
    for part in ("entity_mech", "workflow/scripts"):
        shutil.copytree(provenance.ROOT / part, tmp_path / part)
    scripts = sorted((tmp_path / "workflow" / "scripts").glob("[!_]*.py"))
    before = {script.stem: code_digest(script, root=tmp_path) for script in scripts}
    assert len(set(before.values())) == len(scripts) > 15
    with (tmp_path / "entity_mech" / "methods" / "dcm.py").open("a") as file:
        file.write("MORE = 1\n")
    after = {script.stem: code_digest(script, root=tmp_path) for script in scripts}
    changed = {name for name in before if before[name] != after[name]}
    assert "train_dcm" in changed
    assert not changed & {
        "make_pairs",
        "prepare_model",
        "path_patch",
        "prune_circuit",
        "measure_faithfulness",
        "draw_dcm",
    }


def test_digests_of_values_and_files(tmp_path):
    one, same, other = {"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1}, {"a": 1, "b": [2, 1]}
    assert value_digest(one) == value_digest(same) != value_digest(other)
    with pytest.raises(ValueError, match="JSON"):
        value_digest(float("nan"))
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b")


def test_versions_and_memory_are_known():
    assert {"python", "torch", "snakemake"} <= set(versions())
    assert peak_memory_mb()["cpu"] > 10


def test_the_resolved_config_reads_back(tmp_path):
    config = {"run": "x", "models": [{"name": "ü"}], "dcm": {"learning_rate": 0.1}}
    write_resolved_config(tmp_path / "deep" / "config.yaml", config)
    assert yaml.safe_load((tmp_path / "deep" / "config.yaml").read_text()) == config
