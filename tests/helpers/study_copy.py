"""The project and a small study of two models, in a folder of its own that a test may change."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.snakemake_runs import ROOT

PARTS = ("config", "demo_models", "entity_mech", "workflow")
OPTIONAL = (
    "completeness", "overlap", "circuit_size", "role_map", "patched_heads", "probes", "cmap_inputs", "knockout",
    "attention",
)  # fmt: skip
CONFIG: dict[str, Any] = {
    "run": "small",
    "base": "base",
    "models": [
        # A label that must be text in the report, on the pages and in the figures.
        {"name": "base", "path": "demo_models/tiny/base", "label": "</script><b>$x^{$"},
        {"name": "lora", "path": "demo_models/tiny/lora", "base": "base"},
    ],
    "prompts": {"discovery": 70, "pruning": 70, "ablation": 70, "evaluation": 70},
    "faithfulness": {"random_circuits": 2},
    "dcm": {"pairs": {"train": 64, "validation": 32, "test": 32}, "epochs": 1, "learning_rate": 0.5},
    "cmap": {"random_draws": 2},
    "completeness": {"random_halves": 2},
    "patching": {"pairs": 16, "resamples": 2},
    "probes": {"pairs": {"train": 16, "validation": 8, "test": 8}},
    "figures": {"formats": ["png"], "dpi": 60},
    "leave_out": list(OPTIONAL),
}
RESULTS = f"results/{CONFIG['run']}"


@dataclass(frozen=True)
class StudyCopy:
    """A copy of the project's code, with the study's config and, once it ran, its results."""

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> StudyCopy:
        """The project as it is now, in an empty folder; nothing has run."""
        for part in PARTS:
            shutil.copytree(ROOT / part, folder / part)
        shutil.copy2(ROOT / "environment.yml", folder)
        study = cls(folder)
        study.configure({})
        return study

    def copy(self, folder: Path) -> StudyCopy:
        """All of it, with dates and Snakemake's own records."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, symlinks=True)
        return StudyCopy(folder)

    def configure(self, changes: dict[str, Any]) -> None:
        """Write the config with these keys changed; sections are merged."""
        config = dict(CONFIG)
        for key, value in changes.items():
            config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
        (self.folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def run(self, *options: str) -> str:
        """Run Snakemake with the copy's code and return what it said; AssertionError when it fails."""
        command = [sys.executable, "-m", "snakemake", "--configfile", "study.yaml", "--cores", "2", "--nocolor"]
        done = subprocess.run(
            [*command, *options],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "CUDA_VISIBLE_DEVICES": ""},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=1800,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def planned(self, *options: str) -> set[str]:
        """Jobs that a dry run lists, each as its rule and its wildcards' values: `train_dcm lora`."""
        found = set()
        for block in re.split(r"^(?:local)?rule ", self.run("--dry-run", *options), flags=re.MULTILINE)[1:]:
            rule = re.match(r"\w+", block)[0]
            wildcards = re.search(r"^    wildcards: (.*)$", block, re.MULTILINE)
            values = [pair.partition("=")[2] for pair in wildcards[1].split(", ")] if wildcards else []
            found.add(" ".join([rule, *values]))
        return found - {"all"}

    def path(self, name: str) -> Path:
        """A file of the results."""
        return self.folder / RESULTS / name

    def dates(self) -> dict[str, int]:
        """When each file of the results was written, ns; by its name."""
        folder = self.folder / RESULTS
        return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in _files(folder)}

    def contents(self) -> dict[str, bytes]:
        """Bytes of all tables, JSON files, figures and texts; not of HDF5, logs, benchmarks and the report."""
        folder = self.folder / RESULTS
        kept = [path for path in _files(folder) if path.suffix != ".h5" and path.name != "report.html"]
        found = {str(path.relative_to(folder)): path.read_bytes() for path in kept}
        return {name: content for name, content in found.items() if not name.startswith(("logs/", "benchmarks/"))}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
