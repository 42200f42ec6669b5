"""Partial files: what a killed job did is used again when it was made from the same things, and only then."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_path_patching import CHAIN, PathPatchingOptions, Study, run_chain

from entity_mech.engine.partial import Partial
from entity_mech.methods.pruning import Pair, pair_table
from entity_mech.methods.refined_search import RefinedOptions

STAMP = {"model": "base", "config": "1"}


class Killed(Exception):
    """What stands in for a signal here."""


class DiesAfter(Partial):
    """A partial file whose job is killed when it has put so many entries."""

    def __init__(self, path: Path, puts: int) -> None:
        super().__init__(path, STAMP)
        self.left = puts

    def put(self, name, arrays):
        super().put(name, arrays)
        self._next = 0.0
        self.left -= 1
        if not self.left:
            raise Killed


def test_entries_come_back_with_the_same_stamp_only(tmp_path):
    path = tmp_path / "x.partial.h5"
    first = Partial(path, STAMP)
    first.put("one", {"a": np.arange(3.0), "b": np.zeros((2, 0))})
    again = Partial(path, STAMP).get("one")
    assert again is not None
    np.testing.assert_array_equal(again["a"], np.arange(3.0))
    assert again["b"].shape == (2, 0)
    for other in ({**STAMP, "config": "2"}, {"model": "base"}, {**STAMP, "code": "3"}):
        assert Partial(path, other).get("one") is None


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_file_means_starting_again(tmp_path, damage):
    path = tmp_path / "x.partial.h5"
    values = np.random.default_rng(0).normal(size=(50, 20))
    Partial(path, STAMP).put("one", {"a": values})
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    else:
        place = whole.index(values[25].tobytes()[:8])
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert Partial(path, STAMP).get("one") is None


def test_leftovers_of_a_killed_writer_go_and_so_does_the_file(tmp_path):
    path = tmp_path / "x.partial.h5"
    (tmp_path / ".x.partial.77.part.h5").write_bytes(b"half")
    partial = Partial(path, STAMP)
    partial.put("one", {"a": np.ones(1)})
    assert [file.name for file in tmp_path.iterdir()] == ["x.partial.h5"]
    partial.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("puts", [2, 4, 6])
def test_a_killed_chain_goes_on_to_the_same_table(tmp_path, monkeypatch, puts):
    study, path = Study(), tmp_path / "x.partial.h5"
    options = PathPatchingOptions(batch_size=3)

    def chain(partial):
        return run_chain(study.decoder, study.clean, study.outputs, CHAIN, options, partial).table

    whole = chain(Partial(None, {}))
    with pytest.raises(Killed):
        chain(DiesAfter(path, puts))
    asked = []
    given = study.outputs
    monkeypatch.setattr(study, "outputs", lambda *key: asked.append(key) or given(*key))
    pd.testing.assert_frame_equal(chain(Partial(path, STAMP)), whole, check_exact=True)
    batches, kinds = 2 * len(CHAIN), 2
    assert len(asked) == (batches - (puts - 1)) * kinds  # one put is the batch size


def test_a_refined_search_that_was_done_is_not_done_again(tmp_path, monkeypatch):
    study, path = Study(), tmp_path / "x.partial.h5"
    options = PathPatchingOptions(batch_size=3, null=False, refined=RefinedOptions(first=0.5, moved=0.5, random=1))

    def chain(partial):
        return run_chain(study.decoder, study.clean, study.outputs, CHAIN, options, partial).table

    whole = chain(Partial(None, {}))
    assert not whole["exact"].all()
    with pytest.raises(Killed):
        chain(DiesAfter(path, 4))  # the batch size, two batches of the exact search, one refined search
    asked = []
    given = study.outputs
    monkeypatch.setattr(study, "outputs", lambda *key: asked.append(key) or given(*key))
    pd.testing.assert_frame_equal(chain(Partial(path, STAMP)), whole, check_exact=True)
    assert {role for _, role, _ in asked} == {"label"}, "only the last search ran"


def test_a_chain_goes_on_with_the_batch_size_it_began_with(tmp_path, monkeypatch):
    study, path = Study(), tmp_path / "x.partial.h5"
    sizes = iter([2, 5])
    monkeypatch.setattr("entity_mech.methods.path_patching.path_patching_batch", lambda *_: next(sizes))
    with pytest.raises(Killed):
        run_chain(study.decoder, study.clean, study.outputs, CHAIN, PathPatchingOptions(), DiesAfter(path, 3))
    partial = Partial(path, STAMP)
    run_chain(study.decoder, study.clean, study.outputs, CHAIN, PathPatchingOptions(), partial)
    assert partial.get("a 4") is not None


def test_killed_pairs_go_on_to_the_same_table(tmp_path):
    pairs: list[Pair] = [("a", (0, i), (1, i)) for i in range(10)]
    seen = []

    def accuracy(removals):
        seen.extend(removals)
        return np.array([0.1 * heads[0][1] for _, heads in removals])

    whole = pair_table(pairs, accuracy)
    path = tmp_path / "x.partial.h5"
    with pytest.raises(Killed):
        pair_table(pairs, accuracy, DiesAfter(path, 2), piece=3)
    seen.clear()
    pd.testing.assert_frame_equal(pair_table(pairs, accuracy, Partial(path, STAMP), piece=3), whole)
    assert len(seen) == 4
