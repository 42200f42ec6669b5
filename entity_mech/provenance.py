"""Where a file came from: digests of code, files and options, versions, peak memory, the resolved config.

Standard library only, and quick: a Snakefile asks for a digest of every rule's code while it is read.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from entity_mech.errors import UserError
from entity_mech.files import atomic_path, write_text
from entity_mech.seals import Seal, no_seal, read_bytes

PACKAGE = "entity_mech"
ROOT = Path(__file__).resolve().parent.parent
# Packages whose version can change a number.
PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "tokenizers",
    "numpy",
    "pandas",
    "h5py",
    "snakemake",
)
_SEALED = "# digest: "  # in front of the seal of a resolved config
_MOST_REMEMBERED = 5000
_kept: dict[Path, int] = {}  # digests in each file of them, as far as this process knows
_BODIES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_digest(*starts: str | Path, root: Path = ROOT, memory: Path | None = None) -> str:
    """Digest of scripts or modules and of every module of the package that they import, directly or not.

    starts: paths of scripts, or dotted names of modules (`entity_mech.methods.dcm`). Imports inside functions
    count too; imports for type checking alone do not, nor do modules outside the package. The digest doesn't
    change with comments, docstrings, formatting, times or places; 16 hexadecimal digits.

    root: the folder that holds the package. memory: a file in which digests are kept by a file's content, so that the
    next process need not parse it again. Raises UserError for a start that is not there, or not Python.
    """
    parts: dict[str, str] = {}
    todo: list[str] = []
    for start in starts:
        if isinstance(start, str) and _module_file(start, root) is not None:
            todo.append(start)
            continue
        digest, imports = _read(Path(start), PACKAGE, memory)
        parts[Path(start).name] = digest
        todo += imports
    while todo:
        name = todo.pop()
        file = _module_file(name, root)
        if file is not None and name not in parts:
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            parts[name], imports = _read(file, package, memory)
            todo += imports
    if memory is not None:
        _keep(memory)
    return value_digest(parts)


def _module_file(name: str, root: Path) -> Path | None:
    """The file of a module of the package; None for another module and for a name inside a module."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return None
    base = root.joinpath(*parts)
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def _read(path: Path, package: str, memory: Path | None) -> tuple[str, tuple[str, ...]]:
    """Digest of one file, and the names that it may import from the package."""
    try:
        stat = path.stat()
        return _read_version(path, package, memory, stat.st_mtime_ns, stat.st_size)
    except (OSError, SyntaxError, ValueError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        raise UserError(f"{path} cannot be read as Python: {getattr(error, 'msg', error)}{line}") from None


@cache
def _read_version(
    path: Path, package: str, memory: Path | None, _time: int, _size: int
) -> tuple[str, tuple[str, ...]]:
    text = path.read_bytes()
    known = {} if memory is None else _remembered(memory)
    key = hashlib.sha256(repr((sys.version_info[:2], package, text)).encode()).hexdigest()
    if key not in known:
        tree = ast.parse(text)
        names = list(dict.fromkeys(_imports(tree, package)))
        known[key] = [hashlib.sha256(_shape(tree).encode()).hexdigest(), names]
    digest, names = known[key]
    return digest, tuple(names)


@cache
def _remembered(memory: Path) -> dict[str, Any]:
    """What the file of digests holds, key of a file's content -> [digest, imports]; nothing if it cannot be read."""
    try:
        found = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and len(found) < _MOST_REMEMBERED else {}


def _keep(memory: Path) -> None:
    """Write new digests to the file. It only saves time, so that a folder that cannot be written to does no harm."""
    known = _remembered(memory)
    if len(known) > _kept.get(memory, 0):
        with suppress(OSError), atomic_path(memory) as temporary:
            temporary.write_text(json.dumps(known), encoding="utf-8")
        _kept[memory] = len(known)


def _shape(tree: ast.Module) -> str:
    """A module's syntax as text, without docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, _BODIES) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Names that may be modules of the package and are imported: `from a import b` gives a and a.b."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*up, *([node.module] if node.module else [])])
            yield from _with_parents(module)
            yield from (f"{module}.{alias.name}" for alias in node.names if module.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            for other in node.orelse:
                yield from _imports(other, package)
        else:
            yield from _imports(node, package)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    if parts[0] == PACKAGE:
        yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def value_digest(value: Any) -> str:
    """Digest of a value that JSON can hold (options, a table of digests); 16 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def folder_digest(folder: Path) -> str:
    """Digest of the files in a folder, their names and bytes; 16 hexadecimal digits. For data beside the code."""
    return value_digest({path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.is_file()})


def file_digest(path: str | Path) -> str:
    """Digest of a file's bytes; 16 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number; those not installed are left out."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in (PACKAGE.replace("_", "-"), *PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_mb() -> dict[str, float]:
    """Most memory that this process has had, MB: `cpu`, and `cuda` where torch used a card."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"cpu": used / (2**20 if sys.platform == "darwin" else 2**10)}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        found["cuda"] = torch.cuda.max_memory_allocated() / 2**20
    return {name: round(amount, 1) for name, amount in found.items()}


def write_resolved_config(path: str | Path, config: Mapping[str, Any]) -> None:
    """Write a config with all its defaults filled in, as YAML; its last line, a comment, is its seal."""
    import yaml

    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
    write_text(path, f"{text}{_SEALED}{Seal.of(path, [text.encode()])}\n")


def read_resolved_config(path: str | Path, renamed: bool = False) -> dict[str, Any]:
    """What `write_resolved_config` wrote. renamed: the run's folder may have another name.

    Raises UserError when the file is missing, damaged, changed, another run's copy, or has no seal.
    """
    import yaml

    text, _, line = read_bytes(path).decode(errors="replace").rstrip("\n").rpartition(_SEALED)
    seal = Seal.read(line)
    if seal is None:
        no_seal(path)
    seal.check(path, [text.encode()], renamed)
    return dict(yaml.safe_load(text))
