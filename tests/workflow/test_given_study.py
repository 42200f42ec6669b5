"""A second run that starts from a first one's files: a circuit, a table of scores, and nothing, side by side."""

import json
import shutil

import pandas as pd
import pytest

from entity_mech.provenance import file_digest
from tests.helpers.study_copy import CONFIG, StudyCopy

CIRCUIT, SCORES = "results/small/circuits/base.json", "given/scores.csv"
MODELS = [
    {"name": "base", "path": "demo_models/tiny/base", "circuit": "given/circuit.json", "threshold": 0.01},
    {"name": "lora", "path": "demo_models/tiny/lora", "base": "base", "scores": SCORES},
    {"name": "chat", "path": "demo_models/tiny/chat", "base": "base", "threshold": 0.05},
]
# Stages that need no scores or circuits, or only add time.
LEAVE_OUT = ["role_map", "patched_heads", "probes", "cmap_inputs", "knockout", "attention"]
SECOND = {"run": "again", "models": MODELS, "leave_out": LEAVE_OUT}
ALIKE = (
    *("faithfulness/base/base.csv", "faithfulness/lora/base.csv", "faithfulness/lora/lora.csv"),
    *("dcm/base.csv", "dcm/lora.csv", "cmap/base__lora.csv"),
)


@pytest.fixture(scope="module")
def again(finished: StudyCopy, tmp_path_factory: pytest.TempPathFactory) -> StudyCopy:
    """The second run, finished, in a copy of the first. Tests look at it and leave it as it is."""
    study = finished.copy(tmp_path_factory.mktemp("again") / "project")
    (study.folder / "given").mkdir()
    shutil.copy(study.folder / CIRCUIT, study.folder / "given/circuit.json")
    shutil.copy(study.path("models/lora/path_patching.csv"), study.folder / SCORES)
    study.configure(SECOND)
    study.run()
    return study


def result(study: StudyCopy, name: str):
    return study.folder / "results/again" / name


def table(study: StudyCopy, name: str) -> pd.DataFrame:
    return pd.read_csv(result(study, f"tables/{name}.csv"))


def models_in(study: StudyCopy, name: str) -> list[str]:
    return list(table(study, name)["model"].unique())


def test_a_first_runs_circuit_gives_the_first_runs_numbers(again: StudyCopy, finished: StudyCopy):
    for name in ALIKE:
        assert result(again, name).read_bytes() == finished.path(name).read_bytes(), name
    for model in ("base", "lora"):
        first, second = (
            json.loads(path.read_text())["groups"]
            for path in (finished.path(f"circuits/{model}.json"), result(again, f"circuits/{model}.json"))
        )
        assert first == second, model


def test_each_model_has_what_was_given_or_found(again: StudyCopy):
    assert models_in(again, "path_patching") == models_in(again, "circuit_size") == ["lora", "chat"]
    assert models_in(again, "significance") == models_in(again, "pruning") == ["lora", "chat"]
    assert models_in(again, "stability") == ["chat"]
    assert models_in(again, "given_scores") == ["lora"]
    assert models_in(again, "given_circuits") == ["base"]
    for name in ("circuits", "faithfulness", "completeness", "dcm"):
        assert sorted(models_in(again, name)) == ["base", "chat", "lora"], name
    for family, models in (("path_patching", ["chat", "lora"]), ("circuits", ["base", "chat", "lora"])):
        found = sorted(path.stem for path in result(again, f"figures/{family}").glob("*.png"))
        assert found == models
    shared = table(again, "overlap").query("group == 'whole_circuit'").set_index(["circuit_1", "circuit_2"])
    assert shared["p_chance"].isna().to_dict() == {
        ("base", "lora"): True,
        ("base", "chat"): True,
        ("lora", "chat"): False,
    }


def test_pruning_has_each_models_threshold(again: StudyCopy):
    thresholds = {model: json.loads(result(again, f"circuits/{model}.json").read_text())["threshold"] for model in
                  ("base", "lora", "chat")}  # fmt: skip
    assert thresholds == {"base": 0.01, "lora": 0.01, "chat": 0.05}
    assert table(again, "pruning").set_index("model")["threshold"].to_dict() == {"lora": 0.01, "chat": 0.05}
    judged = table(again, "significance").query("model == 'chat' and kept and not put_back")
    assert not (judged["score"] < 0.05 - 1e-7).any()


def test_the_pages_say_what_was_given_and_what_is_missing(again: StudyCopy):
    text = result(again, "findings.md").read_text()
    digest = file_digest(again.folder / "given/circuit.json")
    assert f"The circuit of base was given (given/circuit.json, digest {digest}), not searched for" in text
    assert f"scores of lora were given ({SCORES}, digest {file_digest(again.folder / SCORES)})" in text
    assert text.count("how often other scenes would give the same heads is not known") == 2
    assert "nan" not in text
    page = result(again, "index.html").read_text()
    assert digest in page
    assert "figures/path_patching/lora.png" in page
    assert "figures/path_patching/base.png" not in page
    given = json.loads(result(again, "circuits/base.json").read_text())["provenance"]["given"]
    assert given == {"file": "given/circuit.json", "digest": digest}
    assert "in chat 0.05" in page  # the caption of the circuits


def test_an_edited_file_reruns_what_depends_on_it_and_nothing_else(again: StudyCopy, tmp_path):
    study = again.copy(tmp_path / "project")
    assert study.planned() == set()
    circuit = json.loads((study.folder / "given/circuit.json").read_text())
    circuit["groups"][0]["heads"].pop()
    (study.folder / "given/circuit.json").write_text(json.dumps(circuit))
    planned = study.planned()
    assert {"take_circuit base", "measure_faithfulness lora base", "train_dcm base"} <= planned
    alone = {job for job in planned if job.split()[0] in ("path_patch", "take_scores", "prune_circuit", "make_pairs")}
    assert alone == set()
    assert not {"measure_faithfulness lora lora", "train_dcm lora", "measure_circuit_size lora"} & planned


def test_other_scores_rerun_their_own_model(again: StudyCopy, tmp_path):
    study = again.copy(tmp_path / "project")
    scores = pd.read_csv(study.folder / SCORES)
    scores["score"] *= 2
    scores.to_csv(study.folder / SCORES, index=False)
    planned = study.planned()
    assert {"take_scores lora", "resolve_candidates lora", "prune_circuit lora", "train_dcm lora"} <= planned
    assert not {"take_circuit base", "train_dcm base", "train_dcm chat", "prune_circuit chat", "make_pairs"} & planned


def test_a_run_of_given_circuits_alone(again: StudyCopy, tmp_path):
    """No model has scores: no score maps, no curve by size, no stability, and everything else."""
    study = again.copy(tmp_path / "project")
    study.configure({**SECOND, "run": "alone", "models": [MODELS[0]]})
    jobs = {job.split()[0] for job in study.planned()}
    assert {"take_circuit", "measure_faithfulness", "train_dcm", "draw_circuits", "draw_overlap"} <= jobs
    assert not {"path_patch", "prune_circuit", "resample_scenes", "measure_circuit_size", "draw_path_patching"} & jobs
    study.run("figures", "results/alone/findings.md")
    assert (study.folder / "results/alone/figures/circuits/base.png").is_file()
    assert "The circuit of base was given" in (study.folder / "results/alone/findings.md").read_text()


def test_a_bad_file_stops_the_run_before_any_job(again: StudyCopy, tmp_path):
    study = again.copy(tmp_path / "project")
    (study.folder / SCORES).write_text("search,layer,head,score\nvalue_fetcher,99,0,0\n")
    with pytest.raises(AssertionError) as stopped:
        study.run("--dry-run")
    said = str(stopped.value)
    assert f"models[1].scores (lora): {SCORES}: nothing is said about the search position_transmitter" in said
    assert "Traceback" not in said
    assert CONFIG["run"] == "small"
