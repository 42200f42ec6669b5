"""The chain of searches: which heads are taken, what later searches patch into, and what each column means."""

import numpy as np
import pandas as pd
import pytest
import torch

from entity_mech.errors import UserError
from entity_mech.methods.head_scores import Effects, ranking, score_table
from entity_mech.methods.path_patching import Chain, ScoredPrompts, receivers_of
from entity_mech.methods.refined_search import RefinedOptions
from entity_mech.methods.searches import PathPatchingOptions, PathSearch
from tests.helpers.literal_path_patching import LiteralPathPatching
from tests.helpers.path_patching_chain import CHAIN, ChainSetting


def test_chain_scores_equal_the_literal_method_and_feed_the_next_search():
    study = ChainSetting()
    table = study.table(PathPatchingOptions(batch_size=4))
    clean, other = study.clean, study.corrupted
    ids, length = torch.as_tensor(clean.ids), torch.as_tensor(clean.length)
    answer = torch.as_tensor(clean.answer)
    oracle = LiteralPathPatching(study.model, ids, length, torch.as_tensor(other.ids))
    p_clean = oracle.clean_logits.softmax(-1)[oracle.rows, answer]
    first = table[table["search"] == "a"]
    into = first[first["receiver"]]
    keys = {
        "a": None,
        "b": {("q", la, h) for la, h in zip(into["layer"], into["head"], strict=True)},
        "d": {(kind, la, h // 2) for kind in "kv" for la, h in zip(into["layer"], into["head"], strict=True)},
    }
    for row in table.itertuples():
        pos = (torch.as_tensor(p.roles[row.token]) for p in (clean, other))
        p = oracle.probability(row.layer, row.head, *pos, keys[row.search], answer)
        # A score above 1 (an answer that was hardly likely) has float error of its own size: rel.
        assert row.score == pytest.approx(((p - p_clean) / p_clean).mean().item(), abs=5e-6, rel=1e-5)
        assert row.null_score == pytest.approx(0, abs=1e-5), "the null sources here are the clean prompts"


def test_batches_do_not_change_the_table():
    study = ChainSetting()
    one, all_ = (study.table(PathPatchingOptions(batch_size=b)) for b in (1, 6))
    numbers = ["score", "median", "share_down", "logit_change", "null_score"]
    pd.testing.assert_frame_equal(one.drop(columns=numbers), all_.drop(columns=numbers))
    # Random models leave answers with tiny probabilities, and scores are relative to them.
    np.testing.assert_allclose(one[numbers], all_[numbers], atol=2e-6)


def test_refined_chain_labels_heads_that_were_not_run_exactly():
    study = ChainSetting()
    options = PathPatchingOptions(batch_size=4, refined=RefinedOptions(first=0.5, moved=0.5, random=1, grow=0.5))
    refined = study.table(options)
    exact = study.table(PathPatchingOptions(batch_size=4))
    assert exact["exact"].all()
    assert not refined["exact"].all()
    same = refined["exact"]
    np.testing.assert_allclose(refined["score"][same], exact["score"][same], atol=1e-5)
    assert refined["logit_change"][~same].isna().all()


def effects(*scores: float) -> dict[str, Effects]:
    relative = np.array(scores)[:, None] * np.ones((1, 2))
    return {"corrupted": Effects(relative, relative * 10)}


def test_only_negative_heads_are_taken_strongest_first():
    table = score_table(PathSearch("a", "A", "last", (), 3, 1), effects(-0.2, 0.4, -0.5, 0.0), n_heads=2)
    assert ranking(table) == [2, 0]
    assert table["receiver"].tolist() == [True, False, True, False]
    assert table["candidate"].tolist() == [False, False, True, False]
    assert table[["layer", "head"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert table["null_score"].isna().all()


def test_an_empty_group_is_no_receiver():
    empty = score_table(CHAIN[0], effects(0.1, 0.2), n_heads=2)
    found = receivers_of(CHAIN[1], {"a": empty}, group=1)
    assert found is not None
    assert found.layers == {}


def test_a_model_that_answers_no_prompt_correctly_is_refused():
    study = ChainSetting()
    scored = ScoredPrompts(study.clean, study.outputs, np.zeros(0, int))
    with pytest.raises(UserError, match=r"answers no discovery prompt correctly.*path_patching.prompts: all"):
        Chain(study.decoder, scored, PathPatchingOptions())


def test_bad_chains_are_refused():
    table = score_table(CHAIN[0], effects(-0.1, -0.2), n_heads=2)
    with pytest.raises(UserError, match="not an earlier search"):
        receivers_of(CHAIN[1], {}, group=1)
    with pytest.raises(UserError, match="another token"):
        receivers_of(PathSearch("x", "X", "label", (("a", "q"),), 1, 1), {"a": table}, group=1)
