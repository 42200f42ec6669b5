"""DCM's heads on fresh pairs: which sets go with which pairs, resamples, and what an empty set gives."""

import numpy as np
import pandas as pd
import pytest

from entity_mech.errors import UserError
from entity_mech.methods.dcm_transfer import FreshPairs, head_sets, patch_chosen_heads
from tests.helpers.planted_pairs import CIRCUIT, A, data_for
from tests.helpers.random_models import decoder_from, random_llama

SELECTED = pd.DataFrame(
    [
        ("value_fetcher", "object", 1, 1, True),
        ("value_fetcher", "object", 2, 0, False),
        ("value_fetcher", "position", 2, 0, False),
    ],
    columns=["group", "desideratum", "layer", "head", "selected"],
)


@pytest.fixture(scope="module")
def model():
    return random_llama(layers=3, kv_heads=2, spread=0.35)


def test_sets_are_every_group_and_desideratum():
    sets = {(each.letter, each.desideratum): each.heads for each in head_sets(CIRCUIT, SELECTED)}
    assert len(sets) == 8
    assert sets.pop(("A", "object")) == (("last", 1, 1),)
    assert set(sets.values()) == {()}


def test_fresh_pairs_give_the_planted_heads_accuracy(model):
    resamples = [data_for(model, seed, n, A, 1, louder=8.0) for seed, n in ((11, 20), (12, 14), (13, 20))]
    fresh = [FreshPairs("object", "object", resamples), FreshPairs("no_comma", "position", resamples[:1])]
    found = patch_chosen_heads(decoder_from(model), head_sets(CIRCUIT, SELECTED), fresh, batch=6)
    summary = found.summary.set_index(["pairs", "letter"])
    planted = summary.loc[("object", "A")]
    assert (planted.accuracy, planted.n, planted.resamples, planted.n_heads) == (1.0, 54, 3, 1)
    other = summary.loc[("object", "D")]
    assert other.n_heads == 0
    assert other.accuracy == other.none_accuracy < 0.9
    assert other.low <= other.accuracy <= other.high
    assert summary.loc[("no_comma", "A")].n == 20
    assert np.isnan(summary.loc[("no_comma", "A")].sd_resamples)
    answers = found.answers[(found.answers.letter == "D") & (found.answers.pairs == "object")]
    assert answers["resample"].value_counts(sort=False).tolist() == [20, 14, 20]
    assert answers.correct.mean() == pytest.approx(other.accuracy)
    assert (answers.correct == answers.none_correct).all()
    scenes = answers.groupby("resample").scene.agg(set).tolist()
    assert not scenes[0] & scenes[1]
    mine = found.answers[(found.answers.letter == "A") & (found.answers.pairs == "object")]
    assert mine.correct.all()
    assert planted.gain == pytest.approx(1 - mine.none_correct.mean())
    each = found.resamples[(found.resamples.letter == "D") & (found.resamples.pairs == "object")]
    assert each.n.tolist() == [20, 14, 20]
    assert np.average(each.accuracy, weights=each.n) == pytest.approx(other.accuracy)
    assert np.std(each.accuracy, ddof=1) == pytest.approx(other.sd_resamples)


def test_no_pairs_is_an_error(model):
    with pytest.raises(UserError, match="no pairs to patch for object"):
        patch_chosen_heads(decoder_from(model), head_sets(CIRCUIT, SELECTED), [FreshPairs("object", "object", [])])
