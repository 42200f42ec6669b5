"""Files that were cut short, changed or deleted, and disks that take no more: a clear message or a repair, and never
a wrong number. Damaged files keep their dates, so that only reading them can tell."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.local_study import LocalStudy, cut, flip

BEHAVIOUR = "models/base/behaviour/evaluation.csv"
SCORES = "models/base/path_patching/value_fetcher/0.h5"
ACTIVATIONS = "models/base/activations/discovery.h5"
CIRCUIT = "circuits/base.json"


def same(study: LocalStudy, undisturbed: LocalStudy, *names: str) -> None:
    mine, theirs = study.results(), undisturbed.results()
    assert sorted(mine) == sorted(theirs)
    assert [name for name in names or theirs if mine[name] != theirs[name]] == []


def test_what_was_deleted_by_hand_is_made_again(study: LocalStudy, undisturbed: LocalStudy):
    for name in (CIRCUIT, "figures/circuits/base.png", "tables/behaviour.csv"):
        study.forget(name)
    said = study.run()
    assert "rule path_patch:" not in said
    same(study, undisturbed)


def test_a_cut_hdf5_is_named_with_its_job_and_made_again_when_deleted(study: LocalStudy, undisturbed: LocalStudy):
    cut(study.path(ACTIVATIONS))
    target = study.forget(SCORES)
    said = study.run(target, code=1)
    summary = said.partition("1 of the jobs failed:")[2]
    for part in (
        "path_patch base, log results/small/logs/path_patch/base.log",
        ACTIVATIONS,
        "Delete it and run again",
    ):
        assert part in summary, said
    assert "Traceback" not in said
    study.forget(ACTIVATIONS)
    study.run(target)
    same(study, undisturbed)


def test_a_flipped_bit_in_activations_is_noticed(study: LocalStudy):
    path = study.path(ACTIVATIONS)
    flip(path, path.stat().st_size * 3 // 4)
    said = study.run(study.forget(SCORES), code=1)
    assert f"{ACTIVATIONS} was changed or damaged" in said


def test_a_flipped_bit_in_a_circuit_is_noticed(study: LocalStudy, undisturbed: LocalStudy):
    path = study.path(CIRCUIT)
    flip(path, path.read_bytes().index(b'"layer": ') + len('"layer": '))
    target = study.forget("figures/circuits/base.png")
    study.forget("tables/circuits.csv")
    assert f"{CIRCUIT} was changed or damaged" in study.run(target, code=1)
    study.forget(CIRCUIT)
    study.run()
    same(study, undisturbed)


def test_a_flipped_bit_in_the_weights_is_noticed(study: LocalStudy, undisturbed: LocalStudy):
    weights = study.folder / "model/model.safetensors"
    flip(weights, weights.stat().st_size // 2)
    target = study.forget(BEHAVIOUR)
    said = study.run(target, code=1)
    assert "model base: its weights" in said
    assert "have changed since it was prepared" in said
    flip(weights, weights.stat().st_size // 2)
    study.run(target)
    same(study, undisturbed)


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """A file system over a folder; the test is skipped where none may be mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    done = subprocess.run(["mount", *options, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(study: LocalStudy, undisturbed: LocalStudy):
    study.forget(ACTIVATIONS)
    target = study.forget(SCORES)
    folder = study.path(ACTIVATIONS).parent
    with mounted(folder, "-t", "tmpfs", "-o", "size=16k", "tmpfs"):
        said = study.run(target, code=1)
        assert "results cannot be written: No space left on device" in said
        assert not list(folder.iterdir())
    study.run(target)
    same(study, undisturbed)


def test_a_read_only_results_folder_is_told(study: LocalStudy, undisturbed: LocalStudy):
    target = study.forget(BEHAVIOUR)
    results = study.folder / "results"
    with mounted(results, "--bind", str(results)):
        subprocess.run(["mount", "-o", "remount,ro,bind", results], check=True)
        assert "Read-only file system" in study.run(target, code=1)
    study.run(target)
    same(study, undisturbed)
