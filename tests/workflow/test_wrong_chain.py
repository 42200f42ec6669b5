"""A chain that looks at the wrong token: its circuit carries nothing, and logs and findings say so and what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from entity_mech.config.load import load_config
from entity_mech.reporting.findings.finding import Finding
from entity_mech.reporting.findings.limits import Limits
from entity_mech.reporting.findings.page import find, findings_markdown
from entity_mech.reporting.study import Study, study_values
from tests.helpers.reporting_answers import about
from tests.helpers.snakemake_runs import ROOT

TABLES = ("behaviour", "answers", "circuits", "faithfulness", "circuit_answers", "role_map")
CONFIG = {
    "run": "wrong",
    "base": "base",
    "models": [{"name": "base", "path": str(ROOT / "demo_models/tiny/base")}],
    "prompts": {"discovery": 42, "pruning": 42, "ablation": 42, "evaluation": 70},
    "searches": [
        {"name": "value_fetcher", "letter": "A", "token": "last", "receivers": ["logits"], "keep": 2},
        {
            "name": "box_reader",
            "letter": "B",
            "token": "box",
            "receivers": [{"search": "value_fetcher", "input": "k"}],
            "keep": 2,
        },
    ],
    "probes": {"group": "value_fetcher"},
    "path_patching": {"null_map": False},
    "pruning": {"least_prompts": 1},  # else no head at all is left
    "faithfulness": {"random_circuits": 30},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"), "--cores", "2"]
    targets = [f"results/wrong/tables/{name}.csv" for name in TABLES]
    done = subprocess.run(
        [*command, "--configfile", "config.yaml", "--nocolor", *targets],
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture(scope="module")
def findings(folder: Path) -> list[Finding]:
    config = load_config(CONFIG)
    study, limits = Study.from_dict(study_values(config)), Limits.of(config.findings.model_dump())
    tables = {name: pd.read_csv(folder / f"results/wrong/tables/{name}.csv") for name in TABLES}
    found = find(study, tables, limits)
    assert "nan" not in findings_markdown(study, found, "wrong", limits)
    return found


def test_the_findings_say_that_the_circuit_carries_nothing(findings: list[Finding]) -> None:
    said = about(findings, "same_circuit", "base", "own circuit's worth").sentence
    assert "its own circuit is not shown to be more accurate than a guess among the objects (14%)" in said
    assert "its own circuit is not shown to beat 90% of random circuits of its size" in said
    assert "of the accuracy, below 90%: the model also needs heads at other tokens" in said


def test_the_role_map_says_where_to_add_a_search(findings: list[Finding]) -> None:
    said = about(findings, "same_circuit", "base", "role map").sentence
    assert "base also needs heads at tokens where the chain has no search: accuracy falls by" in said
    assert "without those at `label`" in said
    assert said.endswith("there.")


def test_the_logs_of_the_jobs_said_it_first(folder: Path) -> None:
    logs = folder / "results/wrong/logs"
    faithfulness = (logs / "measure_faithfulness/base.base.log").read_text()
    assert faithfulness.count("warning: In base, ") == 3
    assert "warning: base also needs heads at tokens" in (logs / "map_roles/base.log").read_text()
    assert "warning" not in (logs / "measure_behaviour/base.evaluation.log").read_text()
