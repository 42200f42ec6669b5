"""Searches and pairs shared out among jobs give what one job gives; parts that don't belong together are refused."""

from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from entity_mech.engine.path_patching import SearchBatch, patched_answers
from entity_mech.engine.receivers import Receivers
from entity_mech.errors import UserError
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.head_scores import Effects, join_effects, joined_table, shard_layers, write_effects
from entity_mech.methods.path_patching import run_chain
from entity_mech.methods.pruning import all_pairs, join_pairs, pair_table, shard_pairs
from entity_mech.methods.searches import PathPatchingOptions
from tests.helpers.edit_hdf5 import edit_hdf5
from tests.helpers.path_patching_chain import CHAIN, ChainSetting

STAMP = {"model": "m", "code": "1"}


def run_in_shards(study, shards, folder, options):
    """The chain as jobs would do it: each search in shards, read back, joined, and handed to the next."""
    shape, tables = study.decoder.shape, {}
    for search in CHAIN:
        files = []
        for shard in range(shards):
            layers = shard_layers(shape.n_layers, shard, shards)
            rows = np.arange(len(study.clean))
            effects = run_chain(study.scored(options), [search], options, tables, layers)
            files.append(folder / f"{search.name}{shard}.h5")
            write_effects(files[-1], STAMP, layers, rows, effects[search.name])
        tables[search.name] = joined_table(search, files, STAMP, shape.n_layers, shape.n_heads)
    return pd.concat(tables.values(), ignore_index=True)


@pytest.mark.parametrize("shards", [1, 2, 3, 5])
def test_scores_do_not_depend_on_the_number_of_shards(tmp_path, shards):
    study, options = ChainSetting(), PathPatchingOptions(batch_size=4)
    whole = study.table(options)
    found = run_in_shards(study, shards, tmp_path, options)
    numbers = ["score", "median", "share_down", "logit_change", "null_score"]
    pd.testing.assert_frame_equal(found.drop(columns=numbers), whole.drop(columns=numbers))
    np.testing.assert_allclose(found[numbers], whole[numbers], atol=2e-6)
    assert (whole["score"].abs() > 1e-3).sum() > 12, "the scores compared are not all nothing"


@pytest.mark.parametrize("layers", [[0], [1], [0, 2], [2], [1, 2]])
@pytest.mark.parametrize("receivers", [None, [("q", 2, 1), ("v", 1, 0)], [("k", 1, 0)]])
def test_a_sender_does_not_depend_on_who_runs_beside_it(layers, receivers):
    study = ChainSetting()
    prompts = study.clean
    ids, length, answer = (torch.as_tensor(x) for x in (prompts.ids, prompts.length, prompts.answer))
    pos = torch.as_tensor(prompts.roles["last" if receivers is None else "label"])
    z = torch.as_tensor(study.outputs("corrupted", "label", np.arange(len(prompts))))
    into = None if receivers is None else Receivers.of_heads(receivers, 2)
    batch = SearchBatch.of(study.decoder, ids, length, answer, pos)
    p, logit = patched_answers(study.decoder, batch, z, into)
    heads = study.decoder.shape.n_heads
    rows = [layer * heads + head for layer in layers for head in range(heads)]
    own = patched_answers(study.decoder, batch, z, into, layers=layers)
    for part, whole in zip(own, (p, logit), strict=True):
        np.testing.assert_allclose(part, whole[rows], atol=2e-6)


def shard_files(folder, change=None):
    """Three shards of one search, written; change: of one dataset or attribute of the second file."""
    files = []
    rng = np.random.default_rng(0)
    for shard in range(3):
        layers = shard_layers(4, shard, 3)
        effects = {"corrupted": Effects(rng.normal(size=(2 * len(layers), 5)), np.zeros((2 * len(layers), 5)))}
        files.append(folder / f"{shard}.h5")
        write_effects(files[-1], STAMP, layers, np.arange(5), effects)
    if change is not None:
        edit_hdf5(files[1], change)
    return files


def test_heads_that_were_not_run_exactly_are_still_told_apart_on_disk(tmp_path):
    exact = np.array([True, False, True, True])
    effects = {"corrupted": Effects(np.ones((4, 3)), np.ones((4, 3)), exact)}
    write_effects(tmp_path / "0.h5", STAMP, [0, 1], np.arange(3), effects)
    np.testing.assert_array_equal(join_effects([tmp_path / "0.h5"], STAMP, 2, 2)["corrupted"].exact, exact)


def test_every_layer_stands_in_its_place(tmp_path):
    files = shard_files(tmp_path)
    found = join_effects(files, STAMP, 4, 2)["corrupted"].relative
    with h5py.File(files[1]) as file:
        np.testing.assert_array_equal(found[2:4], file["corrupted/relative"][()])
    np.testing.assert_array_equal(found, join_effects(files[::-1], STAMP, 4, 2)["corrupted"].relative)


def other_prompts(file):
    file["rows"][0] = 7


def other_code(file):
    file.attrs["code"] = "2"


def other_layer(file):
    file["layers"][0] = 0


@pytest.mark.parametrize(
    ("change", "said"),
    [(other_prompts, "its prompts are not"), (other_code, "code is 2"), (other_layer, "hold layers")],
)
def test_parts_that_do_not_belong_together_are_refused(tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        join_effects(shard_files(tmp_path, change), {"model": "m"}, 4, 2)


def test_a_missing_shard_and_another_model_are_refused(tmp_path):
    files = shard_files(tmp_path)
    with pytest.raises(UserError, match="hold layers"):
        join_effects(files[:2], STAMP, 4, 2)
    with pytest.raises(UserError, match="this stage needs n"):
        join_effects(files, {"model": "n"}, 4, 2)


GROUPS = {"a": 3, "b": 4}
CIRCUIT = Circuit(
    "m", tuple(HeadGroup(n, n.upper(), "last", tuple((0, i) for i in range(k))) for n, k in GROUPS.items())
)


@pytest.mark.parametrize("shards", [1, 2, 5, 40])
def test_pairs_do_not_depend_on_the_number_of_shards(shards):
    def accuracy(removals):
        return np.array([hash((group, *heads)) % 97 / 97 for group, heads in removals])

    pairs = all_pairs(CIRCUIT)
    parts = [pair_table(shard_pairs(pairs, shard, shards), accuracy) for shard in range(shards)]
    pd.testing.assert_frame_equal(join_pairs(CIRCUIT, parts), pair_table(pairs, accuracy), check_dtype=False)
    other = replace(CIRCUIT, groups=CIRCUIT.groups[::-1])
    for circuit, tables in ((other, parts), (CIRCUIT, [*parts, parts[0]])):
        with pytest.raises(UserError, match="pruning_pairs"):
            join_pairs(circuit, tables)
