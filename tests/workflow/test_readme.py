"""What the README tells one to type works."""

import re
import subprocess

import pytest
import yaml

from entity_mech.config.load import load_config
from tests.helpers.snakemake_runs import ROOT, planned

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line.partition("  #")[0].strip() for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
# Commands that stand in the text.
TYPED = re.findall(r"`(make [^`]+)`", README)


def test_there_are_commands():
    assert {"make run", "make test"} <= set(LINES)
    assert sum(line.startswith(".venv/bin/snakemake") for line in LINES) >= 3
    assert LINES[:4] == ["git clone URL entity-mech", "cd entity-mech", "make run", "make test"]
    assert all(line.startswith(("make ", ".venv/bin/snakemake")) for line in LINES[2:])


def test_targets_stand_before_the_config_file():
    """Snakemake takes every word after --configfile for one more config file."""
    asked = [line.split() for line in LINES if "--configfile" in line]
    assert asked
    assert [words for words in asked if words.index("--configfile") != len(words) - 2] == []


@pytest.mark.parametrize("command", sorted({line for line in [*LINES, *TYPED] if line.startswith("make ")}))
def test_make_knows_what_to_do(command):
    done = subprocess.run(["make", "--dry-run", *command.split()[1:]], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_what_it_asks_of_snakemake_can_be_done():
    """Targets of its commands, and the stages of its table, in one dry run."""
    commands = [line.partition("--configfile")[0] for line in LINES if line.startswith(".venv/bin/snakemake")]
    asked = [command.split()[1:] for command in commands]
    targets = {word for words in asked for word in words if not word.startswith("-")}
    assert any("/" in target for target in targets)
    rows = re.search(r"^\| stage .*?\n\n", README, re.MULTILINE | re.DOTALL)[0].strip().splitlines()[2:]
    stages = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert {"behaviour", "prune_circuits", "role_map", "attention"} <= stages
    stages -= {"given", "wordings"}  # only in runs whose config asks for them, as the table says
    jobs = planned("--forceall", *sorted(targets | stages))
    assert stages <= jobs.keys()
    assert jobs["prune_circuit"] == 4
    assert {"draw_attention", "probe_position", "train_dcm"} <= jobs.keys()


def test_its_config_is_one():
    (text,) = (block for kind, block in BLOCKS if kind == "yaml")
    config = load_config(yaml.safe_load(text), source="README.md", check_files=False)
    assert config.fine_tuned() == ["chat", "tuned"]
    assert config.searches


def test_every_file_it_links_to_is_there():
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if not target.startswith("http")]
    assert [target for target in targets if not (ROOT / target.partition("#")[0]).exists()] == []
