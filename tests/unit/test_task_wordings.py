"""Any wording: its roles are named by its words and found by their characters, whatever the tokenizer."""

from dataclasses import replace

import numpy as np
import pytest

from entity_mech.errors import UserError
from entity_mech.task.datasets import build_pairs, build_split
from entity_mech.task.pair_kinds import NO_TEXTS, PROBES, ProbeTexts
from entity_mech.task.prompts import render
from entity_mech.task.scenes import Scene
from entity_mech.task.task import Task
from entity_mech.task.tokenize import tokenize_prompts, tokenize_records
from entity_mech.task.words import LETTERS, Words, builtin_objects
from tests.helpers.task_tokenizers import KINDS, build, check_roles

WORDS = Words(builtin_objects(), LETTERS)
HAS = Task(template="Box {label} has the {object}")
REGISTERS = Task(template="let {label} = {object}", query="{label} =", separator=";", end=";", capitalize=False)
SCENE = Scene(("apple", "key", "hat"), ("F", "B", "Q"))


def spelled(prompt, k):
    """Role -> text, of a segment's and the query's roles."""
    own = {role: spans[k] for role, spans in prompt.segments.items()} | prompt.query
    return {role: prompt.text[slice(*span)] for role, span in own.items() if span is not None}


@pytest.mark.parametrize(
    ("task", "roles"),
    [
        (Task(), "bos the object is in box label separator query_box query_label contains last"),
        (HAS, "bos box label has the object separator query_box query_label contains last"),
        (REGISTERS, "bos let label equals_sign object separator query_label last"),
        (
            Task(template="the {object} of the man isn't label {label}", query="Label {label} is like the"),
            "bos the object of the_2 man isn_t label_2 label separator query_label_2 query_label is like last",
        ),
        (
            Task(template="({object}: {label})", query="What is in {label}?"),
            "bos left_parenthesis object colon label separator what is in query_label last",
        ),
        (
            Task(template="last {object} random {label}", query="{label} has"),
            "bos last_2 object random_2 label separator query_label last",
        ),
    ],
)
def test_roles_are_named_by_the_templates_words(task, roles):
    assert " ".join(task.roles) == roles
    assert len(set(task.roles)) == len(task.roles)


@pytest.mark.parametrize(
    ("task", "text", "words"),
    [
        (
            HAS,
            "Box F has the apple, Box B has the key, Box Q has the hat. Box B contains the",
            "Box B has the key , Box B contains the",
        ),
        (REGISTERS, "let F = apple; let B = key; let Q = hat; B =", "let B = key ; B ="),
        (
            Task(template="({object}: {label})", query="What is in {label}?", separator=""),
            "(apple: F) (key: B) (hat: Q). What is in B?",
            "( key : B ) What is in B ?",
        ),
        (
            Task(template="{object} at {label}", query="{label} has"),
            "apple at F, key at B, hat at Q. B has",
            "key at B , B has",
        ),
    ],
)
def test_a_prompt_says_its_roles_where_its_words_are(task, text, words):
    prompt = render(SCENE, 1, task)
    assert prompt.text == text
    found = spelled(prompt, 1)
    assert " ".join(found.values()) == words
    assert tuple(found) == task.roles[1:]
    assert (found["object"], found["label"], found["query_label"], prompt.answer) == ("key", "B", "B", "key")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", [HAS, REGISTERS], ids=["has", "registers"])
def test_roles_are_right_for_any_tokenizer(kind, task):
    tokenizer = build(kind, task)
    for split in ("discovery", "ablation"):
        records = [record for record in build_split(split, WORDS, task, 21, seed=0) if not record.part]
        for name in records[0].prompts:
            prompts = [record.prompts[name] for record in records]
            tokens = tokenize_prompts(prompts, tokenizer)
            check_roles(prompts, tokens, tokenizer, task)
            asked = tokens.answer >= 0
            here = np.flatnonzero(asked)
            assert (tokens.ids[here, tokens.roles["object"][here]] == tokens.answer[here]).all()
            ordered = np.stack([tokens.roles[role][here] for role in task.roles[1:]])
            assert (np.diff(ordered, axis=0) > 0).all(), "roles stand in the order that the task says"
            assert task.order("correct_object") > task.order("previous_label")


@pytest.mark.parametrize("kind", KINDS)
def test_every_probe_of_another_wording_changes_the_source(kind):
    texts = replace(NO_TEXTS, text_at_start="let us begin", is_not_in="let {label} not = {object}")
    task = replace(REGISTERS, probe_texts=texts)
    assert set(PROBES) - set(task.probes) == {
        "text_at_end", "extra_words", "box_first", "boxes_before_segment",
    }  # fmt: skip
    records = build_pairs(["position", *task.probes], WORDS, task, {"train": 14}, seed=0)
    plain = [r.prompts["source"].text for r in records if r.part == "position/train"]
    tokenizer = build(kind, task)
    for part, groups in tokenize_records(records, tokenizer)[0].items():
        prompts = [record.prompts["source"] for record in records if record.part == part]
        check_roles(prompts, groups["source"], tokenizer, task)
        if part not in ("position/train", "next_segment/train"):
            assert all(prompt.text != text for prompt, text in zip(prompts, plain, strict=True))
    extra = next(r.prompts["source"] for r in records if r.part == "extra_comma/train")
    assert f"let {extra.labels[0]}; = {extra.objects[0]}; let" in extra.text


def test_a_wording_has_the_probes_that_change_something():
    assert Task().probes == PROBES
    structural = ("extra_comma", "segment_at_start", "segment_at_end", "next_segment")
    assert HAS.probes == ("no_commas", *structural)
    assert replace(HAS, separator="").probes == structural
    with pytest.raises(UserError, match="no_commas: no desideratum or probe"):
        build_pairs(["no_commas"], WORDS, replace(HAS, separator=""), {"train": 3}, seed=0)


@pytest.mark.parametrize(
    ("task", "texts", "said"),
    [
        (HAS, {"box_first": "Box {label} contains the {object}"}, "box_first .* names the label first already"),
        (Task(), {"box_first": "the {object} lies in Box {label}"}, "should have {label} before {object}"),
        (Task(), {"extra_words": Task().template}, "extra_words .* is the template itself"),
        (HAS, {"is_not_in": "Box {label} is empty"}, "is_not_in .* should have {object} and {label}"),
    ],
)
def test_a_probe_that_would_change_nothing_is_refused(task, texts, said):
    with pytest.raises(UserError, match=said):
        replace(task, probe_texts=replace(NO_TEXTS, **texts))


def test_searches_can_be_at_every_token_that_all_prompts_have():
    assert "bos" not in Task().search_tokens
    aliases = ("previous_label", "correct_object")
    assert REGISTERS.search_tokens == (*REGISTERS.roles[1:], *aliases)
    assert "separator" not in replace(HAS, separator="").search_tokens
    assert "separator" in Task(template="({object}: {label})", separator="").search_tokens


def test_the_example_has_the_tasks_own_words():
    assert " ".join(word for _, word in Task().example) == "The apple is in Box M , … Box M contains the"
    assert " ".join(word for _, word in REGISTERS.example) == "let M = apple ; … M ="
    own = replace(HAS, objects=("cup", "pen", "key"), labels="XYZ")
    assert own.words["object"] == "cup"
    assert " ".join(word for _, word in own.example) == "Box X has the cup , … Box X contains the"


def test_a_task_is_built_from_the_configs_values():
    values = {"template": HAS.template, "boxes": 3, "objects": ["cup", "pen"], "probe_texts": vars(NO_TEXTS)}
    assert Task.of(values) == Task(template=HAS.template, boxes=3, objects=("cup", "pen"), probe_texts=NO_TEXTS)
    assert Task.of({}).texts == ProbeTexts()
    assert Task.of({"boxes": 4}).chance == 0.25
