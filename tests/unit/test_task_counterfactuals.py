"""Corrupted prompts, their null and the desiderata are what the method says, row by row."""

import time

import numpy as np
import pytest

from entity_mech.errors import UserError
from entity_mech.task.counterfactuals import (
    Queries,
    corrupted,
    desideratum,
    draw_partners,
    every_box,
    next_segment,
    null,
)
from entity_mech.task.pair_kinds import DESIDERATA
from entity_mech.task.scenes import Scene, SceneSource, share_of, shares
from entity_mech.task.words import LETTERS, Words, builtin_objects

WORDS = Words(builtin_objects(), LETTERS)
FEW = Words(builtin_objects()[:6], LETTERS[:6])


def source(share="train", boxes=7, words=WORDS, seed=0):
    return SceneSource(words, boxes, share, np.random.default_rng(seed))


def rows(queries: Queries, words=WORDS):
    """(scene, index) of each row, as words."""
    return [(queries.scenes.scene(row, words), int(queries.index[row])) for row in range(len(queries))]


def test_every_scene_is_asked_for_all_its_boxes_and_the_last_one_for_the_rest():
    queries = every_box(source(), 18)
    assert queries.index.tolist() == [*range(7), *range(7), *range(4)]
    scenes = [scene for scene, _ in rows(queries)]
    assert [scenes.count(scene) for scene in dict.fromkeys(scenes)] == [7, 7, 4]


@pytest.fixture(scope="module")
def made():
    drawn = source("discovery")
    clean = every_box(drawn, 700)
    return drawn, clean, *corrupted(drawn, clean), null(drawn, clean)


def test_corrupted_prompts_are_other_scenes_asked_at_another_index(made):
    _, clean, found, _, _, _ = made
    for (a, i), (b, j) in zip(rows(clean), rows(found), strict=True):
        assert a != b
        assert i != j
        assert share_of(b) == "discovery"


def test_the_corrupted_query_label_is_absent_from_its_scene(made):
    _, _, found, labels, _, _ = made
    assert not (found.scenes.labels == labels[:, None]).any()


def test_absent_labels_segments_and_indices_are_drawn_evenly(made):
    _, clean, found, labels, segments, _ = made
    assert abs(np.bincount(labels, minlength=26) * 26 / 700 - 1).max() < 0.8
    assert abs(np.bincount(segments, minlength=7) * 7 / 700 - 1).max() < 0.3
    steps = (found.index - clean.index) % 7
    assert abs(np.bincount(steps, minlength=7)[1:] * 6 / 700 - 1).max() < 0.3


def test_null_prompts_have_the_same_answer_in_the_same_segment_of_another_scene(made):
    _, clean, _, _, _, same = made
    differing_labels = 0
    for (a, i), (b, j) in zip(rows(clean), rows(same), strict=True):
        assert a != b
        assert i == j
        assert a.objects[i] == b.objects[j]
        assert len(set(b.objects)) == 7
        assert share_of(b) == "discovery"
        differing_labels += a.labels[i] != b.labels[j]
    assert differing_labels > 600


def test_null_prompts_draw_the_other_objects_evenly(made):
    _, clean, _, _, _, same = made
    counts = np.zeros(85)
    for row in range(len(same)):
        others = np.delete(same.scenes.objects[row], clean.index[row])
        counts[others] += 1
    assert abs(counts / counts.mean() - 1).max() < 0.6


@pytest.mark.parametrize(("words", "boxes"), [(WORDS, 7), (FEW, 5), (WORDS, 25)])
@pytest.mark.parametrize("kind", DESIDERATA)
def test_desiderata_are_what_they_claim(kind, words, boxes):
    drawn = source(boxes=boxes, words=words)
    base = every_box(drawn, 10 * boxes)
    found, target = desideratum(drawn, base, kind)
    for (a, i), (b, j), place in zip(rows(base, words), rows(found, words), target, strict=True):
        wanted = words.objects[place]
        assert a != b
        assert i != j
        assert wanted != a.objects[i], "the base's own answer is no target"
        if kind == "object":
            assert wanted == b.objects[j]
            assert wanted not in a.objects
        if kind == "label":
            at = a.labels.index(b.labels[j])
            assert at not in (i, j)
            assert wanted == a.objects[at]
        if kind == "position":
            assert b.labels[j] not in a.labels
            assert wanted == a.objects[j]
        if kind == "known_object":
            assert wanted == b.objects[j]
            assert a.objects.index(wanted) not in (i, j)
            assert b.labels[j] not in a.labels


def test_the_next_segments_object_is_never_the_bases_own_answer():
    drawn = source(boxes=3)
    base = every_box(drawn, 60)
    found, target = next_segment(drawn, base)
    for (a, i), (b, j), place in zip(rows(base), rows(found), target, strict=True):
        assert b.labels[j] not in a.labels
        assert j != i
        assert WORDS.objects[place] == a.objects[(j + 1) % 3]
        assert (j + 1) % 3 != i


@pytest.mark.parametrize(
    ("kind", "words", "boxes", "message"),
    [
        ("object", Words(FEW.objects[:5], LETTERS), 5, "object: needs an object that is not in the base"),
        ("label", FEW, 2, "label: needs three boxes"),
        ("position", Words(builtin_objects(), LETTERS[:7]), 7, "position: needs a label that is not in the base"),
        ("known_object", FEW, 2, "known_object: needs three boxes"),
        ("known_object", Words(FEW.objects, LETTERS[:5]), 5, "known_object: needs a label that is not in the base"),
    ],
)
def test_impossible_desiderata_say_why(kind, words, boxes, message):
    drawn = source(boxes=boxes, words=words)
    with pytest.raises(UserError, match=message):
        desideratum(drawn, every_box(drawn, 4), kind)


def test_corrupted_prompts_need_a_label_that_is_absent():
    drawn = source(words=Words(builtin_objects(), LETTERS[:7]))
    with pytest.raises(UserError, match="7 labels for 7 boxes leave none that is absent"):
        corrupted(drawn, every_box(drawn, 7))


def test_too_little_choice_ends_after_a_bounded_number_of_tries():
    drawn = source()
    base = every_box(drawn, 20)

    def never_in_the_first_row(a, b):
        return (a.scenes.objects != base.scenes.objects[0]).any(1)

    with pytest.raises(UserError, match="pairs: no fitting scene was found for 7 of 20 prompts; 7 boxes with 85"):
        draw_partners(drawn, base, never_in_the_first_row, "pairs")


def test_a_null_that_does_not_exist_is_an_error():
    """Of two boxes, objects and labels there is one other scene with the same answer in the same place, in its own
    share or in another."""
    words = Words(("cup", "key"), ("A", "B"))
    drawn = source(share_of(Scene(("cup", "key"), ("A", "B"))), 2, words)
    other = share_of(Scene(("cup", "key"), ("B", "A")))
    assert other != drawn.share
    with pytest.raises(UserError, match="2 of 2 prompts have no other scene with the same answer"):
        null(drawn, every_box(drawn, 2))


def test_a_source_comes_from_the_bases_own_share():
    drawn = source("test")
    base = every_box(drawn, 70)
    for kind in DESIDERATA:
        assert set(shares(desideratum(drawn, base, kind)[0].scenes, WORDS)) == set(shares(base.scenes, WORDS))


def test_thousands_of_pairs_take_seconds():
    start = time.process_time()
    drawn = source()
    base = every_box(drawn, 2000)
    for kind in DESIDERATA:
        desideratum(drawn, base, kind)
    assert time.process_time() - start < 8
