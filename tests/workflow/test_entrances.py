"""What Snakemake and make answer to a wrong command line: one sentence, at once, and nothing is written."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.snakemake_runs import ROOT, SNAKEFILE

MAKE = ["make", "-o", ".venv/.ready", f"BIN={Path(sys.executable).parent}"]
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--nocolor", "-n"]


def run(command: list[str], folder: Path, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """A command in a folder, with other variables of the environment (None: without)."""
    changed = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    given = {name: value for name, value in changed.items() if value is not None}
    return subprocess.run(
        command, cwd=folder, env=given, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
        check=False,
    )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder to start in, that has what the default config needs and the Makefile."""
    for name in ("Makefile", "workflow", "config", "demo_models", "entity_mech"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "my study.yaml").write_text("run: mine\n")
    (tmp_path / "twice.yaml").write_text("seed: 1\nseed: 2\n")
    (tmp_path / "wrong.yaml").write_text("sed: 1\npruning: {threshold: 5}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([*MAKE, "run", "CONFIG=nope.yaml"], "error: there is no config file 'nope.yaml'."),
        (
            [*MAKE, "run", "CONFIG=my studi.yaml"],
            "there is no config file 'my studi.yaml'. Did you mean 'my study.yaml'",
        ),
        ([*MAKE, "run", "CORES=0", "ARGS=-n"], "error: --cores 0: nothing can run on less than 1"),
        ([*SNAKEMAKE, "--configfile", "twice.yaml"], "line 2: the key 'seed' is there already, in line 1"),
        ([*SNAKEMAKE, "--workflow-profile", "none", "--configfile", "twice.yaml"], "the key 'seed' is there already"),
        (
            [*SNAKEMAKE, "--configfile", "wrong.yaml"],
            "wrong.yaml has 2 mistakes:\n  - pruning.threshold: 5 should be",
        ),
    ],
)
def test_a_wrong_command_line_is_told_in_a_sentence(command: list[str], said: str, place: Path) -> None:
    before, start = sorted(place.rglob("*")), time.monotonic()
    done = run(command, place)
    assert done.returncode != 0
    assert said in done.stdout
    assert "Traceback" not in done.stdout
    assert time.monotonic() - start < 60
    assert [path for path in sorted(place.rglob("*")) if path not in before and ".snakemake" not in path.parts] == []


def test_a_config_with_a_blank_in_its_name_runs_without_a_home(place: Path) -> None:
    command = [*MAKE, "run", "CONFIG=my study.yaml", "TARGET=write_config", "CORES=1"]
    done = run(command, place, HOME=None)
    assert done.returncode == 0, done.stdout
    assert (place / "results/mine/config.resolved.yaml").is_file()
