"""Searches and pairs of a model shared out among jobs, and refined searches: the same heads as in one job."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest

from tests.helpers.snakemake_runs import ROOT, planned
from tests.helpers.study_copy import RESULTS, StudyCopy

CIRCUIT = "results/small/circuits/base.json"


def scores(study: StudyCopy) -> pd.DataFrame:
    return pd.read_csv(study.path("models/base/path_patching.csv"))


def circuit(study: StudyCopy) -> dict:
    data = json.loads(study.path("circuits/base.json").read_text())
    return {group["letter"]: [(head["layer"], head["head"]) for head in group["heads"]] for group in data["groups"]}


def test_shards_find_the_same_circuit(study: StudyCopy):
    whole, heads, pairs = scores(study), circuit(study), study.path("models/base/pruning_pairs.csv").read_bytes()
    study.configure({"path_patching": {"shards": 3}, "pruning": {"shards": 2}})
    study.run(CIRCUIT)
    assert len(list(study.path("models/base/path_patching").glob("*/*.h5"))) == 4 * 3
    assert len(list(study.path("models/base/pruning_pairs").glob("*.csv"))) == 2
    found = scores(study)
    pd.testing.assert_frame_equal(found, whole, check_exact=False, rtol=0, atol=1e-5)
    assert found["receiver"].any()
    assert circuit(study) == heads
    assert study.path("models/base/pruning_pairs.csv").read_bytes() == pairs
    assert not list(study.folder.glob("results/small/**/*.partial.h5"))
    assert not study.planned(CIRCUIT)


def test_refined_searches_find_the_same_circuit(study: StudyCopy):
    whole, heads = scores(study), circuit(study)
    study.configure({"path_patching": {"mode": "refined"}})
    study.run(CIRCUIT)
    found = scores(study)
    exact = found["exact"]
    np.testing.assert_allclose(found["score"][exact], whole["score"][exact], atol=1e-5)
    assert found["receiver"].tolist() == whole["receiver"].tolist()
    assert circuit(study) == heads


@pytest.mark.parametrize("options", [{"shards": 3}, {"mode": "refined"}, {}], ids=["shards", "refined", "whole"])
def test_without_null_maps_no_null_activations_are_stored(study: StudyCopy, options):
    whole = scores(study)
    assert whole["null_score"].notna().all()
    study.configure({"path_patching": {"null_map": False, **options}})
    study.run(f"{RESULTS}/models/base/path_patching.csv")
    with h5py.File(study.path("models/base/activations/discovery.h5")) as file:
        assert list(file) == ["corrupted"]
    found = scores(study)
    assert found["null_score"].isna().all()
    np.testing.assert_allclose(found["score"][found["exact"]], whole["score"][found["exact"]], atol=1e-5)


def test_shards_of_many_models_are_planned(tmp_path):
    options = ("--configfile", str(ROOT / "config" / "paper.yaml"), "--config", "pruning={shards: 5}")
    jobs = planned("prune_circuits", *options, "path_patching={shards: 8}", cwd=tmp_path)
    assert jobs["path_patch"] == 4 * 4 * 8
    assert jobs["prune_pairs"] == 4 * 5
    assert jobs["score_heads"] == jobs["resolve_candidates"] == jobs["prune_circuit"] == 4
    assert "measure_behaviour" not in jobs, "the paper scores all prompts"
