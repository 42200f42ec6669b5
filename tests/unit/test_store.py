"""What is on disk is what the model computes, in any batch size; a file made from something else is refused."""

import h5py
import numpy as np
import pytest
import torch

from entity_mech.engine.store import (
    StoredHeads,
    create_store,
    open_store,
    read_head_outputs,
    read_means,
    store_head_outputs,
    store_means,
)
from entity_mech.errors import UserError
from tests.helpers.box_prompts import box_prompts
from tests.helpers.literal_circuits import head_outputs
from tests.helpers.random_models import decoder_from, exact_norms, random_llama

ROLES = ("last", "query_label", "label")


@pytest.fixture(scope="module")
def study():
    """In float64, so that only what is on disk is rounded."""
    model = random_llama(layers=3, kv_heads=2, d_head=12).double()
    prompts = box_prompts(0, 7, ragged=True)
    with exact_norms():
        literal = head_outputs(model, prompts.ids)
    return decoder_from(model, torch.float64), prompts, literal


@pytest.mark.parametrize("batch", [1, 3, None])
def test_every_head_at_roles_equals_hooks(study, tmp_path, batch):
    decoder, prompts, literal = study
    with create_store(tmp_path / "a.h5", {"model": "m"}) as file:
        store_head_outputs(decoder, prompts, ROLES, file.create_group("x"), batch)
    with open_store(tmp_path / "a.h5", {"model": "m"}) as file:
        stored = read_head_outputs(file["x"])
        assert file["x/z"].dtype == np.float32
        for role in ROLES:
            expected = literal[torch.arange(7), prompts.roles[role]]
            np.testing.assert_allclose(stored.every(role), expected, atol=1e-6)
            some = stored.at(role, [(2, 1), (0, 3)], np.array([5, 0, 5]))
            np.testing.assert_allclose(some, expected[[5, 0, 5]][:, [2, 0], [1, 3]], atol=1e-6)


def test_chosen_heads_equal_every_head(study, tmp_path):
    decoder, prompts, _ = study
    heads = [("last", 1, 2), ("previous_label", 0, 1), ("last", 0, 0), ("last", 1, 2)]
    with create_store(tmp_path / "a.h5", {}) as file:
        store_head_outputs(decoder, prompts, ROLES, file.create_group("all"))
        store_head_outputs(decoder, prompts, ROLES, file.create_group("some"), 2, heads)
        store_head_outputs(decoder, prompts, ROLES, file.create_group("none"), 2, [])
        every, some = read_head_outputs(file["all"]), read_head_outputs(file["some"])
        assert some.z.shape == (7, 3, 12)
        for role, pairs in (("last", [(0, 0), (1, 2)]), ("label", [(0, 1)])):
            np.testing.assert_allclose(some.at(role, pairs), every.at(role, pairs), atol=1e-6)
        with pytest.raises(UserError, match=r"no outputs of 2\.2 at 'last'"):
            some.at("last", [(0, 0), (2, 2)])
        assert read_head_outputs(file["none"]).at("last", [], [0, 1]).shape == (2, 0, 12)


@pytest.mark.parametrize("batch", [2, 7])
def test_means_are_over_the_prompts_that_reach_a_position(study, tmp_path, batch):
    decoder, prompts, literal = study
    with create_store(tmp_path / "a.h5", {}) as file:
        store_means(decoder, prompts, file.create_group("means"), batch)
        mean, count = read_means(file["means"]), file["means/count"][()]
    for pos in range(prompts.ids.shape[1]):
        reach = prompts.length > pos
        assert count[pos] == reach.sum()
        np.testing.assert_allclose(mean[pos], literal[reach, pos].mean(0), atol=1e-6)


def test_a_mismatch_is_refused_by_name(tmp_path):
    path = tmp_path / "a.h5"
    with create_store(path, {"model": "base", "dtype": "float32", "code": "1"}):
        pass
    with open_store(path, {"model": "base"}):
        pass
    with pytest.raises(UserError) as error, open_store(path, {"model": "base", "dtype": "bf16", "seed": "3"}):
        pass
    assert "dtype is float32, this stage needs bf16" in str(error.value)
    assert "seed is not there" in str(error.value)
    assert "model" not in str(error.value)
    with pytest.raises(UserError, match=r"b\.h5 is missing"), open_store(tmp_path / "b.h5", {}):
        pass
    (tmp_path / "c.h5").write_text("nonsense")
    with pytest.raises(UserError, match="carries no seal"), open_store(tmp_path / "c.h5", {}):
        pass


def test_nothing_appears_after_an_error(study, tmp_path):
    decoder, prompts, _ = study
    with pytest.raises(UserError, match="have no token 'bos'"), create_store(tmp_path / "a.h5", {}) as file:
        store_head_outputs(decoder, prompts, ["bos"], file.create_group("x"))
    assert not list(tmp_path.iterdir())


def test_equal_content_gives_equal_bytes(study, tmp_path):
    decoder, prompts, _ = study
    for name in "ab":
        with create_store(tmp_path / name / "x.h5", {"model": "m", "code": "1"}) as file:
            store_head_outputs(decoder, prompts, ROLES, file.create_group("x"), 3)
            store_means(decoder, prompts, file.create_group("means"), 3)
    assert (tmp_path / "a/x.h5").read_bytes() == (tmp_path / "b/x.h5").read_bytes()


def test_what_is_not_stored_is_said(study, tmp_path):
    decoder, prompts, _ = study
    with pytest.raises(UserError, match=r"no head 9\.0 at 'last'"), h5py.File(tmp_path / "x.h5", "w") as file:
        store_head_outputs(decoder, prompts, ROLES, file.create_group("x"), heads=[("last", 9, 0)])
    stored = StoredHeads(np.zeros((2, 1, 3, 4, 5), np.float32), ("last",))
    with pytest.raises(UserError, match="no outputs at 'label'; it has last"):
        stored.every("label")
