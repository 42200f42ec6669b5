"""What one stage writes and another reads: any change is noticed, whatever it is, and said in one sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from entity_mech.errors import UserError
from entity_mech.files import (
    read_checked_json,
    read_json,
    read_plain_table,
    read_table,
    seal_file,
    write_checked_json,
    write_table,
)
from entity_mech.hdf5 import USER_BLOCK, read_hdf5, write_hdf5
from entity_mech.provenance import read_resolved_config, write_resolved_config
from entity_mech.seals import place_of

HEADS = pd.DataFrame(
    {
        "group": ["a", "a", "b"],
        "desideratum": "object",
        "layer": [0, 1, 1],
        "head": [2, 0, 3],
        "weight": [0.5, 0.25, 1.0],
        "selected": [True, False, True],
    }
)


def _write_hdf5(path: Path) -> None:
    with write_hdf5(path) as file:
        file.attrs["model"] = "base"
        file.create_dataset("scalar", data=3.5)
        file.create_dataset("text", data="word")
        file.create_dataset("answer", data=np.arange(7, dtype=np.int32))
        file.create_dataset("empty", data=np.zeros((0, 3)))
        file.create_dataset("roles/last", data=np.arange(3000), chunks=(100,), compression="gzip")
        file["roles"].attrs["names"] = ["last", "label"]


def _read_hdf5(path: Path) -> object:
    with read_hdf5(path) as file:
        return file["answer"][()].tolist()


Format = tuple[Callable[[Path], object], Callable[[Path], object]]
FORMATS: dict[str, Format] = {
    "models/base/a.h5": (_write_hdf5, _read_hdf5),
    "circuits/base.json": (lambda path: write_checked_json(path, {"heads": [[1, 2]], "x": "é"}), read_checked_json),
    "dcm/base_heads.csv": (lambda path: write_table(path, HEADS), read_table),
    "config.resolved.yaml": (
        lambda path: write_resolved_config(path, {"seed": 0, "run": "small"}),
        read_resolved_config,
    ),
}


@pytest.fixture(params=list(FORMATS))
def sealed(request, tmp_path) -> tuple[Path, Callable[[Path], object], Callable[[Path], object]]:
    write, read = FORMATS[request.param]
    path = tmp_path / "results/small" / request.param
    write(path)
    read(path)
    return path, write, read


def refused(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(UserError) as error:
        read(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_bit_flipped_anywhere_is_noticed(sealed):
    """Every byte of a small file, every tenth of a large one: those of HDF5 are mostly its own bookkeeping."""
    path, _, read = sealed
    whole = path.read_bytes()
    for place in range(0, len(whole), 1 if len(whole) < 1000 else 61):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        if path.suffix == ".json" and json_value(broken) == json.loads(whole):
            continue  # white space
        refused(read, path)


def json_value(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None


def test_a_bit_flipped_in_each_dataset_and_attribute_is_noticed(tmp_path):
    path = tmp_path / "a.h5"
    _write_hdf5(path)
    whole, places = path.read_bytes(), []
    with h5py.File(path) as file:
        for name in ("scalar", "text", "answer"):
            places.append(file[name].id.get_offset())
        places.append(file["roles/last"].id.get_chunk_info(7).byte_offset)
    assert len({*places}) == 4
    for place in [*places, whole.index(b"base", USER_BLOCK), whole.index(b"label", USER_BLOCK), 5, len(whole) - 1]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert "was changed or damaged" in refused(_read_hdf5, path)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense\n", b"\0" * 9000, b"\xff\xfe\x00", b"[1, 2]", b"{}", b"a,b\n1,2\n"]
)
def test_another_content_is_refused(sealed, content):
    path, _, read = sealed
    path.write_bytes(content)
    assert refused(read, path).endswith("Delete it and run again: it is made anew.")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_cut_short_or_grown_is_refused(sealed, share):
    path, _, read = sealed
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refused(read, path)
    path.write_bytes(whole + whole[-20:])
    refused(read, path)


def test_a_missing_file_or_a_folder_is_named(sealed):
    path, _, read = sealed
    path.unlink()
    assert refused(read, path) == f"{path} is missing"
    path.mkdir()
    assert "cannot be read" in refused(read, path)


@pytest.mark.parametrize("other", ["small/models/full", "small/models", "large/models/base"])
def test_a_copy_of_another_models_or_runs_file_is_refused(sealed, other, tmp_path):
    path, write, read = sealed
    source = tmp_path / "results" / other / path.name
    write(source)
    read(source)
    shutil.copy(source, path)
    if path.suffix == ".csv":
        shutil.copy(seal_file(source), seal_file(path))
    assert "another file's copy: it was written as results/" in refused(read, path)


def test_a_table_put_in_anothers_place_without_its_seal_is_refused(tmp_path):
    paths = [tmp_path / f"results/small/dcm/{model}_heads.csv" for model in ("base", "full")]
    for path, table in zip(paths, (HEADS, HEADS[:2]), strict=True):
        write_table(path, table)
    shutil.copy(paths[0], paths[1])
    assert "was changed or damaged" in refused(read_table, paths[1])


def test_a_lost_seal_does_not_turn_the_check_off(tmp_path):
    table, circuit = tmp_path / "a.csv", tmp_path / "a.json"
    write_table(table, HEADS)
    seal_file(table).unlink()
    assert "carries no seal" in refused(read_table, table)
    write_checked_json(circuit, {"heads": []})
    value = json.loads(circuit.read_text())
    for digest in (None, "", 3, "0" * 32, []):
        circuit.write_text(json.dumps({"heads": [], "digest": digest}))
        assert "carries no seal" in refused(read_checked_json, circuit)
    circuit.write_text(json.dumps({"heads": []}))
    assert "carries no seal" in refused(read_checked_json, circuit)
    circuit.write_text(json.dumps(value))  # laid out otherwise, and the same
    assert read_checked_json(circuit) == {"heads": []}


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:1],
        lambda t: pd.concat([t, t[:1]]),
        lambda t: t.assign(layer=[0, 1, 99]),
        lambda t: t.assign(weight=[0.5, None, 1.0]),
        lambda t: t.drop(columns="weight"),
        lambda t: t.assign(new=1),
        lambda t: t[::-1],
    ],
    ids=["rows gone", "row twice", "no such head", "NaN", "column gone", "column more", "order"],
)
def test_a_table_edited_by_hand_is_refused(tmp_path, change):
    path = tmp_path / "results/small/dcm/base_heads.csv"
    write_table(path, HEADS)
    change(HEADS).to_csv(path, index=False)
    assert "was changed or damaged" in refused(read_table, path)


def test_a_renamed_run_can_be_read_where_that_is_asked_for(tmp_path):
    path = tmp_path / "results/small/tables/dcm_heads.csv"
    write_table(path, HEADS.assign(model="base"))
    (tmp_path / "results/small").rename(tmp_path / "results/old")
    path = tmp_path / "results/old/tables/dcm_heads.csv"
    assert "another file's copy" in refused(read_table, path)
    assert len(read_table(path, renamed=True)) == 3


def test_places_do_not_depend_on_how_a_file_is_reached(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place_of("results/small/a/b.csv") == "small/a/b.csv"
    assert place_of(tmp_path / "results/small/a/b.csv") == "small/a/b.csv"
    assert place_of("b.csv") == place_of(tmp_path / "b.csv") == "b.csv"
    write_table("results/small/dcm/base_heads.csv", HEADS)
    assert len(read_table(tmp_path / "results/small/dcm/base_heads.csv")) == 3


def test_an_error_leaves_no_file_and_no_reader_a_half_one(tmp_path):
    def write_half():
        with write_hdf5(tmp_path / "a.h5") as file:
            file.attrs["model"] = "base"
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert not list(tmp_path.iterdir())


def test_what_people_bring_needs_no_seal(tmp_path):
    (tmp_path / "a.json").write_text('{"digest": 1}')
    assert read_json(tmp_path / "a.json") == {"digest": 1}
    (tmp_path / "a.csv").write_text("a,b\n1,\nNA,2\n")
    assert read_plain_table(tmp_path / "a.csv")["a"].tolist() == ["1", "NA"]
    for content in (b"", b'a,"b\n1', b"\xff\xfe\x00"):
        (tmp_path / "a.csv").write_bytes(content)
        assert "is not a table" in refused(read_plain_table, tmp_path / "a.csv")
