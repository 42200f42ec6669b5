"""Nothing reads or writes results past the functions that check them: other places are listed, with their reasons."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Calls that read or write a file's content, by their last names.
CALLS = {
    "read_csv", "read_table", "to_csv", "json.load", "json.loads", "json.dump", "json.dumps", "h5py.File", "open",
    "yaml.load", "yaml.safe_load", "yaml.dump", "yaml.safe_dump", "torch.load", "np.load", "np.save", "np.savez",
    "read_text", "read_bytes", "write_text", "write_bytes", "fromfile", "tofile", "genfromtxt", "loadtxt",
    "save_file", "load_file", "safe_open", "read_json", "read_plain_table", "reader", "DictReader",
}  # fmt: skip
# The functions that check, under their own names.
CHECKED = {"read_table", "write_text"}
# Files that others bring or that no result is made from.
ALLOWED = {
    "entity_mech/seals.py": "reads for all that check",
    "entity_mech/files.py": "checks JSON and tables",
    "entity_mech/hdf5.py": "checks HDF5",
    "entity_mech/provenance.py": "checks the resolved config; digests of code; digests of files",
    "entity_mech/config/": "the user's config, and the project's own files that are made from its keys",
    "entity_mech/command_line.py": "the workflow's own rules",
    "entity_mech/reporting/study.py": "a rule's param",
    "entity_mech/failures.py": "logs",
    "entity_mech/reporting/published.py": "published numbers, which come with the package",
    "entity_mech/reporting/planted.py": "what a planted model says of itself, and a page of the documents",
    "entity_mech/task/words.py": "the user's list of words",
    "entity_mech/task/datasets.py": "a split's text, turned into tokens by the job that wrote it",
    "entity_mech/task/tokens.py": "the digest of that text",
    "entity_mech/models/demo/": "training of the shipped models, which is no stage",
    "entity_mech/models/given_circuits.py": "a circuit that the user gives",
    "entity_mech/models/given_scores.py": "scores that the user gives",
    "entity_mech/models/checks.py": "a model's config",
    "entity_mech/models/folders.py": "a model's folder",
    "entity_mech/models/merge.py": "an adapter's config and weights; merged weights have a fingerprint",
    "entity_mech/models/loading.py": "weights, which have a fingerprint",
    "entity_mech/models/tensorfiles.py": "weights, of which it makes the fingerprint",
    "entity_mech/models/prepare.py": "merged weights, which have a fingerprint",
    "entity_mech/models/gpu_lock.py": "a lock",
    "entity_mech/methods/refined_search.py": "a job's scratch files, gone when it ends",
    "entity_mech/kept.py": "text for a digest",
    "workflow/status.py": "times of earlier jobs",
    "workflow/scripts/_run.py": "logs",
}


def names(call: ast.Call) -> set[str]:
    """The name that is called: its last part, and the last two."""
    text = ast.unparse(call.func)
    return {text.rpartition(".")[2], ".".join(text.split(".")[-2:])}


def unchecked(text: str) -> list[str]:
    """Calls in a module that touch files without checking them."""
    tree = ast.parse(text)
    own = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "entity_mech.files"
        for alias in node.names
    } & CHECKED
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        ast.unparse(call.func)
        for call in calls
        if names(call) & CALLS and not (isinstance(call.func, ast.Name) and call.func.id in own)
    ]


def modules() -> dict[str, list[str]]:
    files = [*(ROOT / "entity_mech").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")]
    found = {str(path.relative_to(ROOT)): unchecked(path.read_text(encoding="utf-8")) for path in files}
    return {name: calls for name, calls in found.items() if calls}


def allowed(name: str) -> bool:
    return any(name.startswith(known) if known.endswith("/") else name == known for known in ALLOWED)


def test_every_other_place_is_known():
    assert {name: calls for name, calls in modules().items() if not allowed(name)} == {}


def test_every_exception_is_needed():
    found = modules()
    assert [known for known in ALLOWED if not any(name.startswith(known) for name in found)] == []


@pytest.mark.parametrize(
    "text",
    [
        "import pandas as pd\npd.read_csv(path)",
        "import json\nfrom pathlib import Path\njson.loads(Path('a').read_text())",
        "import h5py\nwith h5py.File('a') as file: pass",
        "from entity_mech.files import read_json\nread_json('circuits/base.json')",
        "table.to_csv('a.csv')",
        "import yaml\nyaml.safe_load(open('config.resolved.yaml'))",
        "import pandas\npandas.read_table('a.csv')",
    ],
)
def test_a_bypass_is_found(text):
    assert unchecked(text)


def test_the_functions_that_check_are_no_bypass():
    assert unchecked("from entity_mech.files import read_table, write_text\nread_table(a)\nwrite_text(a, b)") == []
