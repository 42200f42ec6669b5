"""The places where what a user gives comes in, for tests of what is refused there.

Each function here writes an input into a folder that has the shipped models, and returns the call that takes it in.
"""

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from snakemake.cli import get_argument_parser

from entity_mech.command_line import checked
from entity_mech.config.files import read_config
from entity_mech.config.load import load_config
from entity_mech.errors import UserError
from tests.helpers.snakemake_runs import ROOT, SNAKEFILE

Call = Callable[[], Any]
Entrance = Callable[[Path], Call]
BASE = ROOT / "demo_models/tiny/base"
LORA = ROOT / "demo_models/tiny/lora"


def config(given: dict[str, Any] | str | bytes) -> Entrance:
    """A config file with these keys, this text or these bytes."""

    def write(folder: Path) -> Call:
        text = yaml.safe_dump(given) if isinstance(given, dict) else given
        (folder / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return lambda: load_config(read_config("config.yaml"), source="config.yaml")

    return write


def words(text: str | bytes, name: str = "words.txt", **task: Any) -> Entrance:
    """A list of words that the config names."""

    def write(folder: Path) -> Call:
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return config({"task": {"objects": name, "boxes": 2, "labels": "ABCDEF", **task}, **FEW})(folder)

    return write


def many(*more: str) -> str:
    """A list of twelve words and some more, one a line."""
    return "\n".join([*(f"w{letter}" for letter in "abcdefghijkl"), *more]) + "\n"


# Without the desideratum that needs three boxes, and on few prompts.
FEW: dict[str, Any] = {
    "prompts": {"discovery": 4, "pruning": 4, "ablation": 4, "evaluation": 4},
    "dcm": {
        "pairs": {"train": 4, "validation": 4, "test": 4},
        "desiderata": ["object", "position"],
        "learning_rate": 1,
    },
    "searches": [{"name": "a", "letter": "A", "token": "last", "receivers": ["logits"]}],
    "patching": {"pairs": 4},
    "leave_out": ["probes"],
}


def model(text: str | None = None, *, without: str = "", weights: bytes | None = None, **changes: Any) -> Entrance:
    """A model's folder: the shipped base with other values in its config.json, or with another file of that name."""

    def write(folder: Path) -> Call:
        shutil.copytree(BASE, folder / "m", ignore=shutil.ignore_patterns(without) if without else None)
        if text is not None or changes:
            values = {**json.loads((BASE / "config.json").read_text()), **changes}
            kept = {key: value for key, value in values.items() if value is not ...}
            (folder / "m/config.json").write_text(json.dumps(kept) if text is None else text)
        if weights is not None:
            (folder / "m/model.safetensors").write_bytes(weights)
        return config({"base": "m", "models": [{"name": "m", "path": "m"}]})(folder)

    return write


def model_file(name: str, text: str) -> Entrance:
    """A model's folder, the shipped base with this file in it."""

    def write(folder: Path) -> Call:
        call = model(without="model.safetensors" if name.endswith("index.json") else "")(folder)
        (folder / "m" / name).write_text(text)
        return call

    return write


def adapter(text: str | None = None, **changes: Any) -> Entrance:
    """The shipped adapter with other values in its adapter_config.json, over the shipped base."""

    def write(folder: Path) -> Call:
        shutil.copytree(LORA, folder / "a")
        values = {**json.loads((LORA / "adapter_config.json").read_text()), **changes}
        (folder / "a/adapter_config.json").write_text(json.dumps(values) if text is None else text)
        models = [{"name": "base", "path": str(BASE)}, {"name": "a", "path": "a", "base": "base"}]
        return config({"models": models})(folder)

    return write


def command(*words: str) -> Entrance:
    """A command line of Snakemake, as the profiles look at it."""

    def write(folder: Path) -> Call:
        (folder / "mine.yaml").write_text("run: mine\n")
        (folder / "a folder").mkdir()
        (folder / "latin.yaml").write_bytes("run: m\u00fcller\n".encode("latin-1"))
        (folder / "data.csv").write_text("run,seed\nmine,1\n")

        def look() -> None:
            asked, _ = get_argument_parser().parse_known_args(list(words))
            said = io.StringIO()
            try:
                with contextlib.redirect_stderr(said):
                    checked(asked, SNAKEFILE)
            except SystemExit as end:
                raise UserError(f"{said.getvalue()} (exit status {end.code})") from None

        return look

    return write
