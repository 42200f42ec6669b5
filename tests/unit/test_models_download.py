"""Models from the hub, resolved from a cache laid out as huggingface_hub does; nothing is fetched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from entity_mech.engine.clean import run_logits
from entity_mech.errors import UserError
from entity_mech.files import read_checked_json
from entity_mech.models.checks import problems
from entity_mech.models.download import download
from entity_mech.models.prepare import prepare_model
from entity_mech.models.sources import ModelSource, chain, hub_sources, located
from tests.helpers.model_folders import save_adapter, save_model, source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put_in_cache(cache: Path, repo_id: str, folder: Path, commit: str = COMMIT, ref: str = "main") -> Path:
    """blobs/, refs/ and snapshots/<commit>/ of links, as the hub's client leaves them."""
    repo = cache / f"models--{repo_id.replace('/', '--')}"
    snapshot = repo / "snapshots" / commit
    for part in (repo / "blobs", repo / "refs", snapshot):
        part.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        blob = repo / "blobs" / f"{commit[:8]}-{path.name}"
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    (repo / "refs" / ref).write_text(commit)
    return snapshot


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    """A cache with a base in two revisions, an adapter over it, and a repository of pickles."""
    made = tmp_path_factory.mktemp("made")
    cache = tmp_path_factory.mktemp("home") / "hub"
    base = save_model(made / "base")
    put_in_cache(cache, "org/base", base)
    put_in_cache(cache, "org/base", save_model(made / "old", seed=5), commit="f" * 40, ref="v1")
    save_adapter(made / "adapter", AutoModelForCausalLM.from_pretrained(base), target_modules=["o_proj"])
    put_in_cache(cache, "org/adapter", made / "adapter")
    (made / "pickled").mkdir()
    shutil.copy(base / "config.json", made / "pickled")
    torch.save({"x": torch.ones(1)}, made / "pickled/pytorch_model.bin")
    put_in_cache(cache, "org/pickled", made / "pickled")
    return cache


def test_snapshot_and_commit(hub, tmp_path):
    found = download("org/base", tmp_path / "base.json", cache_dir=hub, local_files_only=True)
    assert found == read_checked_json(tmp_path / "base.json")
    assert found["commit"] == COMMIT
    assert Path(found["folder"]) == hub / "models--org--base/snapshots" / COMMIT
    old = download("org/base", tmp_path / "old.json", revision="v1", cache_dir=hub, local_files_only=True)
    assert old["commit"] == "f" * 40
    by_commit = download("org/base", tmp_path / "c.json", revision="f" * 40, cache_dir=hub, local_files_only=True)
    assert by_commit["folder"] == old["folder"]


def test_what_cannot_be_had_is_said(hub, tmp_path):
    with pytest.raises(UserError, match=r"org/none \(revision main\) is not in the local hub cache"):
        download("org/none", tmp_path / "x.json", cache_dir=hub, local_files_only=True)
    with pytest.raises(UserError, match=r"org/base \(revision v2\) is not in the local hub cache"):
        download("org/base", tmp_path / "x.json", revision="v2", cache_dir=hub, local_files_only=True)
    with pytest.raises(UserError, match=r"only a pickled checkpoint \(pytorch_model.bin\)"):
        download("org/pickled", tmp_path / "x.json", cache_dir=hub, local_files_only=True)
    assert not (tmp_path / "x.json").exists()


def test_adapter_and_base_from_the_hub(hub, tmp_path):
    base = ModelSource("base", "org/base")
    tuned = ModelSource("tuned", "org/adapter", base=base, adapter=True)
    assert [one.name for one in hub_sources([tuned])] == ["tuned", "base"]
    assert problems(tuned) == []
    files = {}
    for one in hub_sources([tuned]):
        files[one.name] = tmp_path / f"{one.name}.json"
        download(one.path, files[one.name], cache_dir=hub, local_files_only=True)
    local = located(tuned, files)
    assert not any(one.on_hub for one in chain(local))
    info = prepare_model(local, tmp_path / "out", run_logits)
    assert info["adapters"] == ["tuned"]
    assert str(hub) in info["files"][0]


def test_the_config_must_say_what_is_an_adapter(hub, tmp_path):
    download("org/adapter", tmp_path / "a.json", cache_dir=hub, local_files_only=True)
    wrong = ModelSource("tuned", "org/adapter", base=ModelSource("base", "org/base"))
    with pytest.raises(UserError, match="model tuned: org/adapter is a PEFT adapter; set its key `adapter`"):
        located(wrong, {"tuned": tmp_path / "a.json"})


def test_offline_by_environment(hub, tmp_path):
    """As on a compute node: HF_HOME names the cache, HF_HUB_OFFLINE forbids the network."""
    code = (
        "import sys; from pathlib import Path; from entity_mech.models.download import download; "
        "print(download('org/base', Path(sys.argv[1]))['commit'])"
    )
    environment = os.environ | {"HF_HOME": str(hub.parent), "HF_HUB_OFFLINE": "1"}
    environment = {k: v for k, v in environment.items() if k not in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")}
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "x.json"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == COMMIT


def test_local_folder_wins_over_a_hub_id(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ModelSource("m", "org/base").on_hub
    save_model(tmp_path / "org/base")
    assert not ModelSource("m", "org/base").on_hub
    assert source("m", Path("org/base")).folder == Path("org/base")
    assert not ModelSource("m", "/org/base").on_hub
