"""Prompts of varying layout: the same sentences at other places, and which of their tokens play the same role."""

from dataclasses import replace

import numpy as np
import pytest

from entity_mech.task.datasets import build_split
from entity_mech.task.layouts import SameRole
from entity_mech.task.scenes import Scene, share_of
from entity_mech.task.task import Task
from entity_mech.task.tokenize import tokenize_records
from entity_mech.task.words import LETTERS, Words, builtin_objects
from tests.helpers.task_tokenizers import KINDS, build

TASK, WORDS = Task(), Words(builtin_objects(), LETTERS)
RECORDS = build_split("ablation", WORDS, TASK, 84, seed=3)
VARIED = [record.prompts["prompts"] for record in RECORDS if record.part]


def test_as_many_prompts_of_varying_layout_follow_the_plain_ones():
    assert [record.part for record in RECORDS[:84]] == [""] * 84
    assert sorted({record.part for record in RECORDS[84:]}) == sorted(f"layouts/{n}" for n in range(4, 11))
    assert len(VARIED) == 84
    assert {len(prompt.objects) for prompt in VARIED} == set(range(4, 11))
    text = TASK.texts.text_at_start
    assert {text in prompt.text.lower() for prompt in VARIED} == {True, False}
    starts = {prompt.text.lower().find(text) for prompt in VARIED}
    assert 0 in starts
    assert max(starts) > 20, "between segments, too"
    assert any(f"{TASK.texts.text_at_end}. " in prompt.text for prompt in VARIED)
    assert all(prompt.text.endswith(" contains the") for prompt in VARIED)


def test_their_scenes_are_of_the_same_share_and_drawn_from_the_seed():
    assert {share_of(Scene(prompt.objects, prompt.labels)) for prompt in VARIED} == {"ablation"}
    assert build_split("ablation", WORDS, TASK, 84, seed=3) == RECORDS
    other = build_split("ablation", WORDS, TASK, 84, seed=4)
    assert [record.prompts["prompts"].text for record in other if record.part] != [prompt.text for prompt in VARIED]


def test_few_words_allow_fewer_segments():
    few = Words(WORDS.objects[:5], LETTERS[:5])
    parts = {record.part for record in build_split("ablation", few, replace(TASK, boxes=3), 30, seed=0)}
    assert parts == {"", "layouts/2", "layouts/3", "layouts/4", "layouts/5"}


def test_a_wording_without_texts_varies_its_number_of_segments_alone():
    registers = Task(template="let {label} = {object}", query="{label} =", separator=";", end=";", capitalize=False)
    for record in build_split("ablation", WORDS, registers, 40, seed=0):
        prompt = record.prompts["prompts"]
        assert prompt.text.count(";") == len(prompt.objects)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_play_the_role_that_their_words_have(kind):
    groups, _ = tokenize_records(RECORDS, build(kind), kind)
    plain = groups.pop("")["prompts"]
    same = SameRole.of(plain)
    for found in groups.values():
        prompts = found["prompts"]
        roles = same.tokens(prompts)
        for role in (*TASK.segment_roles, *TASK.query_roles):
            at, row = prompts.roles[role], np.flatnonzero(prompts.roles[role] >= 0)
            seen = set(roles[row, at[row]].tolist()) - {-1}
            assert seen <= set(same.position[same.at([role])].tolist()), role
            if role in ("object", "label", "query_label", "last"):
                assert len(seen) <= 1, "one role, whatever its segment"
        text = (prompts.segment < 0) & (np.arange(prompts.ids.shape[1]) < prompts.length[:, None])
        assert (roles[text] == -1).any(), "added text has no role"
    content = [same.at([role]) for role in ("object", "label", "last")]
    assert [int(at.sum()) for at in content] == [7, 7, 1]
    assert not (content[0] & content[1]).any()


def test_a_capital_and_the_last_mark_are_not_what_others_are():
    groups, _ = tokenize_records(RECORDS, build("words"), "words")
    same = SameRole.of(groups[""]["prompts"])
    the, mark = same.position[np.flatnonzero(same.at(["the"]))], same.position[np.flatnonzero(same.at(["separator"]))]
    assert (len(the), len(set(the.tolist()))) == (7, 2)
    assert (len(mark), len(set(mark.tolist()))) == (7, 2)
    assert mark[-1] not in mark[:-1]
