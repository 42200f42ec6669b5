"""Each position probe changes the source as it says, and keeps the answer it claims."""

from dataclasses import replace

import numpy as np
import pytest

from entity_mech.errors import UserError
from entity_mech.task.datasets import build_pairs
from entity_mech.task.pair_kinds import NO_TEXTS, PLAIN_PROBE, PROBES, ProbeTexts
from entity_mech.task.prompts import render
from entity_mech.task.scenes import Scene, share_of
from entity_mech.task.task import Task
from entity_mech.task.words import LETTERS, Words, builtin_objects

WORDS = Words(builtin_objects(), LETTERS)
TASK = Task()
N = 63


@pytest.fixture(scope="module")
def pairs():
    records = build_pairs([PLAIN_PROBE, *PROBES], WORDS, TASK, {"train": N}, seed=0)
    return {kind: [r for r in records if r.part == f"{kind}/train"] for kind in (PLAIN_PROBE, *PROBES)}


def plain_source(record):
    """The plain prompt of a source whose scene was not changed."""
    prompt = record.prompts["source"]
    return render(Scene(prompt.objects, prompt.labels), prompt.query_index, TASK).text


def test_there_are_eleven_probes(pairs):
    assert len(PROBES) == 11
    assert all(len(records) == N for records in pairs.values())


@pytest.mark.parametrize("probe", PROBES)
def test_probes_keep_the_answer_they_claim(pairs, probe):
    """The target is the base's object at the index that the source was asked for before its change; the source's own
    label says nothing about the base, and the target is not what the base would answer anyway."""
    for plain, changed in zip(pairs[PLAIN_PROBE], pairs[probe], strict=True):
        base, source = changed.prompts["base"], changed.prompts["source"]
        assert base == plain.prompts["base"]
        before = source.query_index - (probe == "segment_at_start")
        at = (before + 1) % 7 if probe == "next_segment" else before
        assert changed.target == base.objects[at]
        assert changed.target != base.answer
        assert before != base.query_index
        assert source.labels[source.query_index] not in base.labels
        assert source.answer == source.objects[source.query_index]
        if probe != "next_segment":
            assert changed.target == plain.target
            assert before == plain.prompts["source"].query_index


@pytest.mark.parametrize("probe", [p for p in PROBES if p not in ("next_segment",)])
def test_probes_change_the_source_alone_and_each_in_its_own_way(pairs, probe):
    texts = {name: [r.prompts["source"].text for r in records] for name, records in pairs.items()}
    assert all(a != b for a, b in zip(texts[probe], texts[PLAIN_PROBE], strict=True))
    others = [name for name in texts if name not in (probe, PLAIN_PROBE)]
    assert not any(set(texts[probe]) & set(texts[name]) for name in others)


def segment(record):
    """The queried segment's own text without its first letter, which may be a capital."""
    source = record.prompts["source"]
    spans = [spans[source.query_index] for spans in source.segments.values() if spans[source.query_index]]
    return source.text[min(a for a, _ in spans) : max(b for _, b in spans)][1:]


def words(record):
    source = record.prompts["source"]
    return source.objects[source.query_index], source.labels[source.query_index]


def test_text_before_and_after(pairs):
    for record in pairs["text_at_start"]:
        plain = plain_source(record)
        assert record.prompts["source"].text == ("There are a bunch of boxes containing objects, t" + plain[1:])
    for record in pairs["text_at_end"]:
        context, query = plain_source(record).split(". ")
        assert record.prompts["source"].text == (f"{context}, these are a bunch of boxes containing objects. {query}")


@pytest.mark.parametrize(
    ("probe", "text"),
    [
        ("extra_words", "he {} is contained in the Box {}"),
        ("is_not_in", "he {} is not in Box {}"),
        ("box_first", "ox {1} contains the {0}"),
    ],
)
def test_changes_of_the_queried_segment_alone(pairs, probe, text):
    for record in pairs[probe]:
        assert segment(record)[:-1] == text.format(*words(record))
        plain_segment = "he {} is in Box {}".format(*words(record))
        restored = record.prompts["source"].text.replace(segment(record)[:-1], plain_segment)
        plain = plain_source(record)
        if probe == "box_first":  # it begins with another letter
            assert restored.replace("Bhe ", "the ").lower() == plain.lower()
        else:
            assert restored == plain


def test_commas(pairs):
    for record in pairs["no_commas"]:
        assert record.prompts["source"].text == plain_source(record).replace(",", "")
    for record in pairs["extra_comma"]:
        assert record.prompts["source"].text == plain_source(record).replace(" is in", ", is in")
        # The role is the comma behind the label, not the new one.
        source = record.prompts["source"]
        for (_, label_end), separator in zip(source.segments["label"], source.segments["separator"], strict=True):
            assert separator[0] == label_end


@pytest.mark.parametrize(("probe", "place"), [("segment_at_start", 0), ("segment_at_end", 7)])
def test_an_extra_segment_has_an_object_and_a_label_of_its_own(pairs, probe, place):
    extra = set()
    for plain, changed in zip(pairs[PLAIN_PROBE], pairs[probe], strict=True):
        source, old = changed.prompts["source"], plain.prompts["source"]
        assert len(set(source.objects)) == len(set(source.labels)) == 8
        assert np.delete(source.objects, place).tolist() == list(old.objects)
        assert np.delete(source.labels, place).tolist() == list(old.labels)
        assert source.answer == old.answer
        assert source.text == plain_source(changed)
        extra.add((source.objects[place], source.labels[place]))
    assert len(extra) > N / 2


def test_three_extra_boxes_stand_before_the_queried_segment(pairs):
    at_start = 0
    for record in pairs["boxes_before_segment"]:
        source = record.prompts["source"]
        obj, label = words(record)
        head, tail = source.text.split("here are three additional boxes, Box ", 1)
        names, rest = tail.split(", the ", 1)
        first, second = names.split(", Box ")
        second, third = second.split(" and Box ")
        assert len({first, second, third} - set(source.labels)) == 3
        assert rest.startswith(f"{obj} is in Box {label}")
        at_start += head == "T"
        assert head == "T" or head.endswith(", t")
    assert 0 < at_start < N


def test_the_published_text_of_extra_boxes_needs_no_labels():
    text = "there are three additional boxes, Box PP, Box BB and Box AA"
    task = Task(boxes=3, probe_texts=ProbeTexts(boxes_before_segment=text))
    few = Words(builtin_objects()[:5], LETTERS[:5])
    records = build_pairs(["boxes_before_segment"], few, task, {"test": 3}, seed=0)
    assert all(text[1:] + ", the " in record.prompts["source"].text for record in records)
    with pytest.raises(UserError, match="probe boxes_before_segment: 3 boxes need 6 objects, and there are 5"):
        build_pairs(["boxes_before_segment"], few, Task(boxes=3), {"test": 3}, seed=0)


def test_texts_are_the_users_own():
    template, query = "ein {object} ist in {label}", "In {label} ist ein"
    texts = replace(NO_TEXTS, text_at_start="hier sind Kisten", extra_words="ein {object} ist ganz in {label}")
    task = Task(boxes=3, template=template, query=query, probe_texts=texts)
    (record,) = build_pairs(["extra_words"], WORDS, task, {"test": 1}, seed=0)
    assert " ist ganz in " in record.prompts["source"].text
    (record,) = build_pairs(["text_at_start"], WORDS, task, {"test": 1}, seed=0)
    assert record.prompts["source"].text.startswith("Hier sind Kisten, ein ")


@pytest.mark.parametrize("wrong", [{"box_first": "Box {label}"}, {"text_at_start": " "}])
def test_texts_are_checked(wrong):
    with pytest.raises(UserError, match=f"probe_texts.{next(iter(wrong))}"):
        Task(probe_texts=ProbeTexts(**wrong))


def test_an_unknown_probe_is_refused():
    with pytest.raises(UserError, match="no_comma: no desideratum or probe; allowed are object, label"):
        build_pairs(["no_comma"], WORDS, TASK, {"test": 3}, seed=0)


def test_scenes_before_the_change_come_from_the_splits_share(pairs):
    for record in pairs["extra_words"]:
        for prompt in record.prompts.values():
            assert share_of(Scene(prompt.objects, prompt.labels)) == "train"
