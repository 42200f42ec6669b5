"""Means by role equal those over tokens counted by hand; where no role is asked for, means are those by position."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from entity_mech.engine.role_means import AblationPrompts, read_ablation, store_ablation
from entity_mech.errors import UserError
from tests.helpers.box_prompts import SEGMENT, box_prompts
from tests.helpers.literal_circuits import head_outputs
from tests.helpers.random_models import decoder_from, random_llama

BOXES, QUERY = 3, ("query_box", "query_label", "contains", "last")


def with_sets(prompts):
    """Box prompts with the sets of other segments' words that real token files have."""
    sets = {}
    for name, role in (("other_objects", "object"), ("other_labels", "label"), ("other_separators", "separator")):
        mask = np.zeros(prompts.ids.shape, bool)
        for box in range(prompts.choices.shape[1]):
            rows = np.flatnonzero(prompts.query_index != box)
            mask[rows, prompts.roles[role][rows] + 7 * (box - prompts.query_index[rows])] = True
        sets[name] = mask
    return replace(prompts, sets=sets)


PLAIN = with_sets(box_prompts(1, 8, BOXES))
# Fewer and more segments, and words in front of them.
OTHERS = (box_prompts(2, 5, 2), box_prompts(3, 6, 4), box_prompts(4, 7, 3, ragged=True))
VARIED = [with_sets(prompts) for prompts in OTHERS]


@pytest.fixture(scope="module")
def model():
    return random_llama(layers=2, spread=0.35)


@pytest.fixture(scope="module")
def stored(model):
    with h5py.File("means", "w", driver="core", backing_store=False) as file:
        store_ablation(decoder_from(model), AblationPrompts(PLAIN, VARIED), file, batch=3)
        yield file


def by_hand(model, role: str) -> tuple[torch.Tensor, int]:
    """Mean over all tokens of a role in the varied prompts [layer, head, d_head], and how many there are."""
    found = []
    for prompts in VARIED:
        z = head_outputs(model, prompts.ids)
        for row in range(len(prompts)):
            start, boxes = prompts.length[row] - 4 - 7 * prompts.choices.shape[1], prompts.choices.shape[1]
            if role in QUERY:
                found.append(z[row, prompts.length[row] - 4 + QUERY.index(role)])
            else:
                found += [z[row, start + 7 * box + SEGMENT.index(role)] for box in range(boxes)]
    return torch.stack(found).mean(0), len(found)


@pytest.mark.parametrize("role", [*SEGMENT, *QUERY])
def test_a_roles_mean_is_over_all_its_tokens_wherever_they_stand(model, stored, role):
    mean, count = by_hand(model, role)
    at = [7 * box + SEGMENT.index(role) for box in range(BOXES)] if role in SEGMENT else [21 + QUERY.index(role)]
    given = read_ablation(stored, PLAIN, [role])
    plain = read_ablation(stored, PLAIN)
    for pos in range(PLAIN.ids.shape[1]):
        if pos in at:
            np.testing.assert_allclose(given[pos], mean, atol=1e-5)
            assert stored["role_count"][pos] == count
            assert np.abs(given[pos] - plain[pos]).max() > 1e-3
        else:
            np.testing.assert_array_equal(given[pos], plain[pos])


def test_by_position_they_are_what_they_were(model, stored):
    np.testing.assert_allclose(read_ablation(stored, PLAIN), head_outputs(model, PLAIN.ids).mean(0), atol=1e-5)
    assert stored["count"][()].tolist() == [8] * 25


def test_aliases_name_the_same_tokens(stored):
    label, previous = (read_ablation(stored, PLAIN, [name]) for name in ("label", "previous_label"))
    np.testing.assert_array_equal(label, previous)


def test_a_role_that_no_prompt_has_is_refused(stored):
    with pytest.raises(UserError, match="no ablation prompt has a token 'colour'"):
        read_ablation(stored, PLAIN, ["label", "colour"])
