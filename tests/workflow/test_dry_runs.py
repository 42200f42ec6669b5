"""The workflow as it is read: every config dry-runs, the lint is clean, a wrong config is told in one message."""

import subprocess
import sys

import pytest
import yaml
from yte import process_yaml

from entity_mech.stages.derived import rules_by_kind
from tests.helpers.snakemake_runs import ROOT, planned, snakemake

PAPER = ROOT / "config" / "paper.yaml"
# Those of planted models need models that are built first: test_planted. published.yaml is read on top of another.
APART = ("planted", "planted_hard", "published")
CONFIGS = [path for path in sorted((ROOT / "config").glob("*.yaml")) if path.stem not in APART]
PAPERS_MODELS = ["llama-7b", "vicuna-7b", "goat-7b", "float-7b"]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_dry_runs(config):
    models = yaml.safe_load(config.read_text())["models"]
    jobs = planned("--configfile", str(config.relative_to(ROOT)), "--forceall")
    n = len(models)
    assert jobs["prepare_model"] + jobs["merge_adapter"] == n
    assert jobs["path_patch"] == jobs["prune_circuit"] == jobs["train_dcm"] == n
    assert jobs["measure_faithfulness"] == n * n
    assert jobs["patch_across_models"] == sum(bool(model.get("base")) for model in models)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("shards", [1, 3])
def test_the_clusters_groups_of_small_jobs_fit_every_config(config, shards):
    """Snakemake refuses a group that a job outside it stands between; the profile's groups are used here."""
    kinds = rules_by_kind()
    groups = [f"{rule}={kind}" for kind in ("dataset", "tables") for rule in kinds[kind]]
    options = ["--configfile", str(config.relative_to(ROOT)), "--config", f"path_patching={{shards: {shards}}}"]
    options += [f"pruning={{shards: {shards}}}", "--groups", *groups, "--group-components", "tables=1000"]
    assert planned("--forceall", *options)["draw_attention"] == 1


def test_a_config_stands_for_itself(tmp_path):
    """With --configfile the default config is not read: not its models, not even from a folder without them."""
    jobs = snakemake("--dry-run", "--forceall", "--configfile", str(PAPER), cwd=tmp_path)
    assert jobs.returncode == 0, jobs.stdout
    lines = [line.strip() for line in jobs.stdout.splitlines()]
    models = {line.removeprefix("wildcards: model=") for line in lines if line.startswith("wildcards: model=")}
    assert {model.split(",")[0] for model in models} == set(PAPERS_MODELS)
    assert not any("demo_models" in line or "results/tiny" in line for line in lines)


def test_published_circuits_are_taken_and_the_other_models_are_searched():
    jobs = planned("--configfile", "config/paper.yaml", "config/published.yaml", "--forceall")
    assert jobs["take_scores"] == jobs["take_circuit"] == 2
    assert jobs["path_patch"] == jobs["prune_circuit"] == jobs["resample_scenes"] == 2
    assert jobs["train_dcm"] == jobs["measure_circuit_size"] == 4
    assert jobs["measure_faithfulness"] == 16


def test_a_stage_can_be_asked_for_by_name_or_by_its_file(tmp_path):
    by_name = planned("prune_circuits", "--configfile", str(PAPER), cwd=tmp_path)
    assert by_name["prune_circuit"] == 4
    assert by_name["draw_circuits"] == 1
    assert not {"train_dcm", "measure_faithfulness", "make_pairs", "draw_dcm"} & set(by_name)
    by_file = planned("results/paper/circuits/vicuna-7b.json", "--configfile", str(PAPER), cwd=tmp_path)
    assert by_file["prune_circuit"] == by_file["path_patch"] == by_file["prepare_model"] == 1


def test_keys_can_be_set_on_the_command_line(tmp_path):
    options = ("--configfile", str(PAPER), "--config", "run=other", "faithfulness={random_circuits: 3}", "seed=4")
    done = snakemake("results/other/faithfulness/goat-7b/goat-7b.csv", "-n", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    wrong = snakemake("-n", *options[:3], "faithfulness={random_circuits: -3}", cwd=tmp_path)
    assert "faithfulness.random_circuits: -3 should be at least 0" in wrong.stdout


def test_an_adapter_waits_for_its_base_and_gets_its_own_rule(tmp_path):
    target = "results/paper/models/goat-7b/model.json"
    jobs = planned(target, "--configfile", str(PAPER), cwd=tmp_path)
    assert jobs["download_model"] == 2
    assert jobs["merge_adapter"] == 1
    assert "prepare_model" not in jobs


def test_a_wrong_config_is_told_at_once(tmp_path):
    (tmp_path / "wrong.yaml").write_text("run: x\nbase: bse\ndcm: {tie: more}\nserches: []\n")
    done = snakemake("--dry-run", "--configfile", "wrong.yaml", cwd=tmp_path)
    assert done.returncode != 0
    for part in ("wrong.yaml has", "base: 'bse'", "Did you mean 'base'?", "dcm.tie:", "serches:", "'searches'"):
        assert part in done.stdout, done.stdout
    assert "Traceback" not in done.stdout


def test_the_lint_is_clean(tmp_path):
    done = snakemake("--lint", "--configfile", str(PAPER), cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "Congratulations" in done.stdout


def test_the_rule_files_are_formatted():
    done = subprocess.run(
        [sys.executable, "-m", "snakefmt", "--check", "workflow"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_reading_the_workflow_imports_nothing_heavy():
    """torch, transformers, pandas and matplotlib take seconds; every start of Snakemake would pay for them."""
    files = [*(ROOT / "workflow").rglob("*.smk"), *(ROOT / "workflow" / "profiles").rglob("*.yaml")]
    lines = [line.strip(" -") for file in files for line in file.read_text().splitlines()]
    imports = sorted({line for line in lines if line.startswith("from entity_mech")})
    assert len(imports) > 4
    heavy = ("torch", "transformers", "pandas", "matplotlib", "h5py")
    code = "\n".join([*imports, "import sys", f"print([name for name in {heavy} if name in sys.modules])"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_rule_has_a_script_a_log_a_benchmark_and_resources():
    """Rule, script, log and benchmark of one name; collectors have none of them."""
    for file in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for block in file.read_text().split("\nrule ")[1:]:
            name, body = block.split(":", 1)
            assert body.strip().startswith('"""'), f"{name} has no docstring"
            if "script:" not in body:
                assert "localrule: True" in body, f"{name} is no job and should be local"
                continue
            parts = (f'"../scripts/{name}.py"', f'"<logs>/{name}', f'"<benchmarks>/{name}', f'code("{name}")')
            for part in (*parts, f'**asks("{name}"'):
                assert part in body, f"{name} lacks {part}"


@pytest.mark.parametrize("profile", ["default", "slurm"])
def test_the_profiles_agree_on_what_reruns(profile, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["snakemake"])
    with (ROOT / "workflow" / "profiles" / profile / "config.yaml").open() as file:
        found = process_yaml(file, require_use_yte=True)
    assert found["rerun-triggers"] == ["mtime", "params", "input", "software-env"]
    assert found["max-checksum-file-size"] == "20MB"
    if profile == "slurm":
        assert set(found["set-resources"]) == set(rules_by_kind()["model"])
