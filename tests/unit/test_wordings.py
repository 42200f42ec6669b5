"""A circuit in other words: found again where nothing changes, held against what a search there gives by itself."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from entity_mech.engine.clean import run_clean, to_ids
from entity_mech.engine.role_means import AblationPrompts
from entity_mech.methods.behaviour import behaviour
from entity_mech.methods.candidates import choose_circuit
from entity_mech.methods.path_patching import chain_table, prompts_to_score, run_chain
from entity_mech.methods.searches import PathPatchingOptions
from entity_mech.methods.wordings import COLUMNS, HEAD_COLUMNS, Chosen, Reworded, Tried, try_wording
from tests.helpers.path_patching_chain import CHAIN, ChainSetting, make_prompts

OPTIONS = PathPatchingOptions(null=False)
KEEP = {search.name: 3 for search in CHAIN}


class Study(ChainSetting):
    """A random model that answers every second prompt correctly, and what was found in it."""

    def __init__(self) -> None:
        super().__init__()
        given = behaviour(self.decoder, self.clean)["predicted"].to_numpy()
        half = np.arange(len(given)) % 2 == 0
        self.clean = replace(self.clean, answer=np.where(half, given, (given + 1) % 61))
        self.scores = self.table(OPTIONS)
        unpruned = choose_circuit("m", self.scores, KEEP)
        groups = (one.only(one.heads[:2]) for one in unpruned.groups)
        self.chosen = Chosen(replace(unpruned, groups=tuple(groups)), self.scores, KEEP)

    def tried(self, clean, corrupted, score_all: bool) -> Tried:
        prompts = Reworded(self.clean, AblationPrompts(self.clean, []), clean, corrupted)
        return try_wording(self.decoder, prompts, self.chosen, CHAIN, OPTIONS, score_all)


@pytest.fixture(scope="module")
def study() -> Study:
    return Study()


def test_in_the_same_words_everything_is_found_again(study: Study):
    tried = study.tried(study.clean, study.corrupted, score_all=True)
    assert {*COLUMNS} == {"wording", "template", "query", *tried.summary}
    assert list(tried.heads) == HEAD_COLUMNS[1:]
    total = sum(len(group.candidates) for group in study.chosen.circuit.groups)
    assert tried.summary["candidates"] == tried.summary["again"] == total
    assert tried.summary["p_chance"] < 0.01 < total - tried.summary["chance_again"]
    assert tried.summary["accuracy"] == 0.5
    assert tried.summary["ceiling"] >= 0
    assert (tried.summary["scored"], tried.summary["n"]) == (6, 6)
    assert (tried.heads["again"] == 1).all()
    assert tried.heads["kept"].sum() == study.chosen.circuit.size < total
    both = tried.heads.merge(study.scores, on=["search", "layer", "head"])
    assert len(both) == total
    np.testing.assert_allclose(both["score_x"], both["score_y"], rtol=1e-4, atol=1e-6)


def test_in_other_words_as_a_search_there_finds(study: Study):
    clean, corrupted = make_prompts(5), make_prompts(6)
    tried = study.tried(clean, corrupted, score_all=True)
    z = run_clean(study.decoder, to_ids(study.decoder, corrupted.ids), {"z"}).z
    sources = np.stack([layer.numpy() for layer in z], 2)
    scored = prompts_to_score(
        study.decoder,
        clean,
        lambda _, role, rows: sources[rows, corrupted.roles[role][rows]],
        np.arange(len(clean)),
        OPTIONS,
    )
    found = choose_circuit(
        "m", chain_table(CHAIN, run_chain(scored, CHAIN, OPTIONS), study.decoder.shape.n_heads), KEEP
    )
    there = {(group.name, *head) for group in found.groups for head in group.heads}
    here = {(group.name, la, h) for group in study.chosen.circuit.groups for la, h, _ in group.candidates}
    roles = {search.name: search.token for search in CHAIN}
    shared = {(roles[name], *at) for name, *at in here} & {(roles[name], *at) for name, *at in there}
    assert 0 < len(shared) < len(here)
    assert tried.summary["again"] == len(shared)
    named = tried.heads.set_index(["search", "layer", "head"])
    assert set(named.index) == here | there
    assert {at for at, again in named["again"].items() if again} == there


def test_only_prompts_that_are_answered_are_searched_on(study: Study):
    tried = study.tried(study.clean, study.corrupted, score_all=False)
    assert (tried.summary["scored"], tried.summary["n"]) == (3, 6)
    wrong = replace(study.clean, answer=np.full(6, -1))
    nothing = study.tried(wrong, study.corrupted, score_all=False)
    assert nothing.summary["scored"] == 0
    assert all(pd.isna(nothing.summary[name]) for name in ("again", "chance_again", "p_chance"))
    assert nothing.heads["again"].isna().all()
