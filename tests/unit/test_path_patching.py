"""The chain of searches: which heads are taken, what later searches patch into, and what each column means."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import decoder_from, random_llama, random_prompts
from literal_path_patching import LiteralPathPatching

from entity_mech.engine.clean import run_clean
from entity_mech.errors import UserError
from entity_mech.methods.path_patching import (
    Effects,
    ranking,
    receivers_of,
    run_chain,
    score_table,
)
from entity_mech.methods.refined_search import RefinedOptions
from entity_mech.methods.searches import PathPatchingOptions, Search
from entity_mech.task.tokens import TokenizedPrompts

CHAIN = [
    Search("a", "A", "last", (), 3, 4),
    Search("b", "B", "last", (("a", "q"),), 2, 2),
    Search("d", "D", "label", (("a", "k"), ("a", "v")), 0, 2),
]


def make_prompts(seed: int, n: int = 6, length: int = 12, vocab: int = 61) -> TokenizedPrompts:
    rng = np.random.default_rng(seed)
    ids, lengths = random_prompts(rng, n=n, length=length, vocab=vocab)
    return TokenizedPrompts(
        ids=ids,
        length=lengths,
        roles={"last": lengths - 1, "label": rng.integers(2, 6, n)},
        sets={},
        segment=np.full(ids.shape, -1),
        answer=rng.integers(1, vocab, n),
        choices=rng.integers(1, vocab, (n, 3)),
        query_index=np.zeros(n, int),
        scene=np.arange(n),
    )


class Study:
    """A random model with clean and corrupted prompts, and its head outputs as the store would give them."""

    def __init__(self) -> None:
        self.model = random_llama(layers=3, kv_heads=2)
        self.decoder = decoder_from(self.model)
        self.clean, self.corrupted = make_prompts(1), make_prompts(2)
        self.z = torch.stack(run_clean(self.decoder, torch.as_tensor(self.corrupted.ids), {"z"}).z, 2)

    def outputs(self, kind: str, role: str, rows: np.ndarray) -> np.ndarray:
        prompts = {"corrupted": self.corrupted, "null": self.clean}[kind]
        z = self.z if kind == "corrupted" else self.clean_z()
        return z[rows, prompts.roles[role][rows]].numpy()

    def clean_z(self):
        return torch.stack(run_clean(self.decoder, torch.as_tensor(self.clean.ids), {"z"}).z, 2)


def test_chain_scores_equal_the_literal_method_and_feed_the_next_search():
    study = Study()
    table = run_chain(study.decoder, study.clean, study.outputs, CHAIN, PathPatchingOptions(batch_size=4)).table
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
    study = Study()
    one, all_ = (
        run_chain(study.decoder, study.clean, study.outputs, CHAIN, PathPatchingOptions(batch_size=b)).table
        for b in (1, 6)
    )
    numbers = ["score", "median", "share_down", "logit_change", "null_score"]
    pd.testing.assert_frame_equal(one.drop(columns=numbers), all_.drop(columns=numbers))
    # Random models leave answers with tiny probabilities, and scores are relative to them.
    np.testing.assert_allclose(one[numbers], all_[numbers], atol=2e-6)


def test_refined_chain_labels_heads_that_were_not_run_exactly():
    study = Study()
    options = PathPatchingOptions(batch_size=4, refined=RefinedOptions(first=0.5, moved=0.5, random=1, grow=0.5))
    refined = run_chain(study.decoder, study.clean, study.outputs, CHAIN, options).table
    exact = run_chain(study.decoder, study.clean, study.outputs, CHAIN, PathPatchingOptions(batch_size=4)).table
    assert exact["exact"].all()
    assert not refined["exact"].all()
    same = refined["exact"]
    np.testing.assert_allclose(refined["score"][same], exact["score"][same], atol=1e-5)
    assert refined["logit_change"][~same].isna().all()


def effects(*scores: float) -> dict[str, Effects]:
    relative = np.array(scores)[:, None] * np.ones((1, 2))
    return {"corrupted": Effects(relative, relative * 10)}


def test_only_negative_heads_are_taken_strongest_first():
    table = score_table(Search("a", "A", "last", (), 3, 1), effects(-0.2, 0.4, -0.5, 0.0), n_heads=2)
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


def test_bad_chains_are_refused():
    table = score_table(CHAIN[0], effects(-0.1, -0.2), n_heads=2)
    with pytest.raises(UserError, match="not an earlier search"):
        receivers_of(CHAIN[1], {}, group=1)
    with pytest.raises(UserError, match="another token"):
        receivers_of(Search("x", "X", "label", (("a", "q"),), 1, 1), {"a": table}, group=1)
