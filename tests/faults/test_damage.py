"""Files that were cut short, changed or deleted, and disks that take no more: a clear message or a repair, and never
a wrong number. Damaged files keep their dates, so that only reading them can tell."""

import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import pytest

from entity_mech.errors import UserError
from entity_mech.files import read_checked_json, read_table, seal_file
from entity_mech.hdf5 import read_hdf5
from tests.helpers.local_study import TARGETS, LocalStudy, cut, flip
from tests.helpers.small_study import ROOT

BEHAVIOUR = "models/base/behaviour/evaluation.csv"
SCORES = "models/base/path_patching/value_fetcher/0.h5"
ACTIVATIONS = "models/base/activations/discovery.h5"
CIRCUIT = "circuits/base.json"
CANDIDATES, TABLE = "models/base/candidates.json", "models/base/path_patching.csv"
TOKENS = "dataset/tokens/base/evaluation.h5"
READERS = {".csv": read_table, ".json": read_checked_json}


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


def places(path: Path) -> Iterator[int]:
    """Bytes to flip: some of every dataset of an HDF5 file, and some anywhere in any file."""
    if path.suffix == ".h5":
        found: list[int] = []

        def visit(_: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset) and item.size:
                place, size = item.id.get_offset(), item.id.get_storage_size()
                if item.chunks is not None:
                    place, size = item.id.get_chunk_info(0).byte_offset, item.id.get_chunk_info(0).size
                found.append(place + size // 2)

        with h5py.File(path) as file:
            file.visititems(visit)
        assert found
        yield from found
    chance = random.Random(path.name)
    yield from (chance.randrange(path.stat().st_size) for _ in range(5))


def read(path: Path) -> None:
    if path.suffix == ".h5":
        with read_hdf5(path):
            return
    READERS[path.suffix](path)


def test_a_flipped_bit_in_any_file_that_a_stage_reads_is_noticed(study: LocalStudy):
    files = [study.path(name) for name in study.results() if not name.startswith("figures/")]
    files = [path for path in files if path.suffix in (".h5", *READERS)]
    assert {path.suffix for path in files} == {".h5", *READERS}
    for path in files:
        read(path)
        for place in places(path):
            flip(path, place)
            content = path.read_bytes()
            with pytest.raises(UserError, match=re.escape(str(path))):
                read(path)
            flip(path, place)
            assert content != path.read_bytes()
        read(path)


def without_half_its_rows(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]))


def without_its_digest(path: Path) -> None:
    value = json.loads(path.read_text())
    del value["digest"]
    value["groups"][0]["heads"].pop()
    path.write_text(json.dumps(value))


def flipped_answer(path: Path) -> None:
    with h5py.File(path) as file:
        place = file["prompts/answer"].id.get_offset()
    flip(path, place)


def of_another_split(path: Path) -> None:
    shutil.copy(path.with_name("pruning.h5"), path)


def of_another_table(path: Path) -> None:
    other = path.with_name("significance.csv")
    shutil.copy(other, path)
    shutil.copy(seal_file(other), seal_file(path))


@pytest.mark.parametrize(
    ("damages", "forgotten", "said"),
    [
        (
            {TOKENS: flipped_answer, TABLE: without_half_its_rows},
            (BEHAVIOUR, CANDIDATES),
            [f"{TOKENS} was changed or damaged", f"{TABLE} was changed or damaged"],
        ),
        (
            {TOKENS: of_another_split, TABLE: of_another_table},
            (BEHAVIOUR, CANDIDATES),
            [f"{TOKENS} is another file's copy", f"{TABLE} is another file's copy"],
        ),
        ({CANDIDATES: without_its_digest}, (CIRCUIT,), [f"{CANDIDATES} carries no seal"]),
    ],
    ids=["changed", "swapped", "digest deleted"],
)
def test_a_job_that_reads_a_damaged_file_names_it(study: LocalStudy, damages, forgotten, said):
    for name, damage in damages.items():
        path = study.path(name)
        stat = path.stat()
        damage(path)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    found = study.run(*[study.forget(name) for name in forgotten], code=1)
    assert "Traceback" not in found
    for part in (*said, "Delete it and run again"):
        assert part in found


def test_results_of_another_config_are_not_kept_when_snakemakes_records_are_gone(study: LocalStudy):
    assert "make_prompts" in study.run(*TARGETS, "--dry-run", "--config", "seed=1"), "it has its records"
    shutil.rmtree(study.folder / ".snakemake/metadata")
    assert "Nothing to be done" in study.run()
    assert "Nothing to be done" in study.run(*TARGETS, "--config", "compute={threads: 2}")
    for how in ((), ("--dry-run",)):
        said = study.run(*TARGETS, *how, "--config", "seed=1", code=1)
        assert "made with other options" in said
        assert "--forceall" in said
    assert "make_prompts" in study.run(*TARGETS, "--forceall", "--dry-run", "--config", "seed=1")


def test_the_main_process_uses_the_package_beside_the_workflow(study: LocalStudy, tmp_path, monkeypatch):
    """Another clone's package comes first on the path, as in an environment that two clones share."""
    shutil.copytree(ROOT / "entity_mech", tmp_path / "entity_mech")
    (tmp_path / "entity_mech/failures.py").write_text("raise RuntimeError('this is the other clone')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "Nothing to be done" in study.run()


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
