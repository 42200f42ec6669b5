"""The workflow, unchanged, finds the circuit that was planted, and the comparison says so."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from entity_mech.files import read_table
from entity_mech.models.planted.build import write_variant
from entity_mech.models.planted.variants import VARIANTS
from entity_mech.reporting.planted import group_table, model_table
from tests.helpers.snakemake_runs import ROOT, planned
from tests.helpers.study_copy import OPTIONAL, StudyCopy

MODELS = Path("planted")
WANTED = ("config.resolved.yaml", "tables/findings.csv", "tables/completeness.csv")  # all but figures and pages


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> StudyCopy:
    """A finished study of the model with an object pointer, in the chain of config/planted.yaml."""
    study = StudyCopy.new(tmp_path_factory.mktemp("planted") / "project")
    write_variant(VARIANTS["object"], study.folder / MODELS / "object")
    planted = yaml.safe_load((ROOT / "config" / "planted.yaml").read_text())
    study.configure(
        {
            "base": "object",
            "models": [{"name": "object", "path": str(MODELS / "object")}],
            "searches": planted["searches"],
            "dcm": {
                "pairs": {"train": 160, "validation": 16, "test": 64},
                "batch_size": 16,
                "validate_every": 3,
                "desiderata": planted["dcm"]["desiderata"],
            },
            "leave_out": [stage for stage in OPTIONAL if stage != "completeness"],
        }
    )
    study.run(*(str(study.path(name).relative_to(study.folder)) for name in WANTED))
    return study


@pytest.fixture
def groups(study: StudyCopy, monkeypatch) -> pd.DataFrame:
    monkeypatch.chdir(study.folder)  # models' paths are relative to it
    return group_table(study.path("."))


def test_every_planted_head_is_found_and_no_other(groups):
    assert groups["group"].tolist() == ["A", "B", "C", "D"]
    assert (groups["recall_before"] == 1).all()
    assert (groups["precision_before"] < 1).any(), "pruning had something to do"
    assert (groups["precision_after"] == 1).all()
    assert (groups["recall_after"] == 1).all()
    assert (groups["weakest_planted"] < -0.3).all()
    assert (groups["strongest_other"].dropna() > -0.01).all()


def test_the_circuit_does_all_that_the_model_does(study, groups):
    model = model_table(study.path("."), groups).iloc[0]
    whole = ["accuracy", "before_pruning", "faithfulness", "answers_kept", "ceiling", "precision", "recall"]
    assert model[whole].tolist() == [1] * 7
    assert model["heads"] == 8


def test_functions_are_not_mistaken(groups):
    found = groups.set_index("group")["found"]
    assert found["A"] == "object, known object"
    assert found[["B", "C", "D"]].tolist() == ["known object"] * 3, "they carry an object's code to where it stands"
    assert (groups["found"] == groups["carries"]).all()


def test_a_selection_at_chance_is_none(study):
    heads = read_table(study.path("dcm/object_heads.csv"))
    selected = heads[heads["selected"]].groupby("group")["desideratum"].unique().map(set).to_dict()
    assert selected.pop("value_fetcher") == {"object", "known_object"}
    assert set(selected) == {"position_transmitter", "position_detector", "structure_reader"}
    assert all(kinds == {"known_object"} for kinds in selected.values())


def test_findings_say_so_and_claim_no_gain(study):
    findings = read_table(study.path("tables/findings.csv"))
    assert "improved" not in set(findings["question"]), "nothing was fine-tuned"
    own = findings[findings["about"] == "own circuit"].iloc[0]
    assert own["value"] == 1


def test_both_configs_dry_run_on_the_models_that_the_command_writes(tmp_path):
    command = [sys.executable, "-m", "entity_mech.models.planted", "--out", str(tmp_path / "resources" / "planted")]
    subprocess.run(command, cwd=ROOT, check=True)
    plain = planned("--configfile", str(ROOT / "config" / "planted.yaml"), cwd=tmp_path)
    hard = planned("--configfile", str(ROOT / "config" / "planted_hard.yaml"), cwd=tmp_path)
    assert plain["prune_circuit"] + hard["prune_circuit"] == len(VARIANTS)
    assert (plain["patch_across_models"], hard["patch_across_models"]) == (3, 1)
