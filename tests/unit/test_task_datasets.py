"""Splits are disjoint, reproducible, and say in their file all there is to know."""

import json

import numpy as np
import pytest

from entity_mech.errors import UserError
from entity_mech.task.datasets import (
    PROMPT_SPLITS,
    build_pairs,
    build_split,
    read_split,
    write_split,
)
from entity_mech.task.pair_kinds import DESIDERATA, PROBES
from entity_mech.task.scenes import SHARES
from entity_mech.task.task import Task
from entity_mech.task.words import LETTERS, Words, builtin_objects

WORDS = Words(builtin_objects(), LETTERS)
# So few that scenes would soon be shared if nothing prevented it: 24 x 24 of them.
FEW = Words(builtin_objects()[:4], LETTERS[:4])
TASK = Task()


def scenes_of(records):
    return {(prompt.objects, prompt.labels) for record in records for prompt in record.prompts.values()}


def all_splits(words, task, n, seed):
    splits = {name: build_split(name, words, task, n, seed) for name in PROMPT_SPLITS}
    kinds = DESIDERATA if task.boxes > 2 else ("object", "position")
    for part in ("train", "validation", "test", "0"):
        splits[part] = build_pairs(kinds, words, task, {part: n}, seed)
    return splits


@pytest.mark.parametrize(("words", "boxes", "n"), [(WORDS, 7, 70), (FEW, 3, 30)])
def test_splits_share_no_scene(words, boxes, n):
    splits = all_splits(words, Task(boxes=boxes), n, seed=0)
    assert len(splits) == len(SHARES)
    found = [scene for records in splits.values() for scene in scenes_of(records)]
    assert len(found) == len(set(found)) > n


def test_other_seeds_keep_splits_apart():
    """A scene's share does not depend on the seed."""
    first = scenes_of(build_split("evaluation", FEW, Task(boxes=3), 60, seed=0))
    for seed in range(1, 6):
        other = scenes_of(build_split("discovery", FEW, Task(boxes=3), 60, seed=seed))
        assert not first & other


@pytest.mark.parametrize("name", ["pruning", "evaluation", "discovery"])
def test_n_counts_prompts_and_every_scene_is_asked_for_all_its_boxes(name):
    records = build_split(name, WORDS, TASK, 17, seed=0)
    first = [next(iter(record.prompts.values())) for record in records]
    assert [prompt.query_index for prompt in first] == [*range(7), *range(7), *range(3)]
    scenes = [prompt.scene for prompt in first]
    assert [scenes.count(scene) for scene in dict.fromkeys(scenes)] == [7, 7, 3]
    for prompt in first:
        label = prompt.labels[prompt.query_index]
        assert prompt.text.endswith(f" Box {label} contains the")
        assert prompt.answer == prompt.objects[prompt.query_index]


def test_a_row_of_discovery_belongs_together():
    records = build_split("discovery", WORDS, TASK, 140, seed=0)
    for record in records:
        clean, corrupted, null = (record.prompts[name] for name in ("clean", "corrupted", "null"))
        asked = corrupted.text.split(". Box ")[1][0]
        assert asked not in corrupted.labels
        assert corrupted.answer is None
        assert corrupted.query_index != clean.query_index
        assert 0 <= corrupted.role_segment < 7
        assert (null.answer, null.query_index) == (clean.answer, clean.query_index)
        assert len({clean.scene, corrupted.scene, null.scene}) == 3
        assert clean.role_segment == clean.query_index
    assert len({r.prompts["corrupted"].role_segment for r in records}) == 7


def test_ablation_prompts_ask_other_scenes_for_any_label():
    records = build_split("ablation", WORDS, TASK, 400, seed=0)
    prompts = [record.prompts["prompts"] for record in records if not record.part]
    asked = [prompt.text.split(". Box ")[1][0] for prompt in prompts]
    assert {prompt.scene for prompt in prompts} == set(range(400))
    counts = np.array([asked.count(label) for label in LETTERS])
    assert abs(counts * 26 / 400 - 1).max() < 0.8
    for prompt, label in zip(prompts, asked, strict=True):
        index = prompt.labels.index(label) if label in prompt.labels else -1
        assert prompt.query_index == prompt.role_segment == index
        assert prompt.answer == (prompt.objects[index] if index >= 0 else None)
    present = np.mean([prompt.query_index >= 0 for prompt in prompts])
    assert abs(present - 7 / 26) < 0.08


def test_parts_of_pairs_are_named_and_counted():
    records = build_pairs(["object", "label"], WORDS, TASK, {"train": 20, "test": 7}, seed=0)
    parts = [record.part for record in records]
    assert {part: parts.count(part) for part in dict.fromkeys(parts)} == {
        "object/train": 20,
        "object/test": 7,
        "label/train": 20,
        "label/test": 7,
    }
    assert all(set(record.prompts) == {"base", "source"} and record.target for record in records)


def test_fresh_pairs_differ_from_part_to_part():
    records = build_pairs(["object"], WORDS, TASK, {"0": 70, "1": 70}, seed=0)
    texts = [{r.prompts["base"].text for r in records if r.part == f"object/{i}"} for i in range(2)]
    assert not texts[0] & texts[1]


def test_a_scene_id_is_one_scene():
    records = build_pairs(DESIDERATA, FEW, Task(boxes=3), {"train": 60, "test": 60}, seed=0)
    seen: dict[int, tuple] = {}
    for record in records:
        for prompt in record.prompts.values():
            assert seen.setdefault(prompt.scene, (prompt.objects, prompt.labels)) == (
                prompt.objects,
                prompt.labels,
            )
    assert len(set(seen.values())) == len(seen)
    assert set(seen) == set(range(len(seen)))


def test_equal_configs_give_equal_bytes_and_other_seeds_do_not(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        records = build_split("discovery", WORDS, TASK, 21, seed)
        records += build_pairs(["label", *PROBES], WORDS, TASK, {"train": 7}, seed)
        write_split(records, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_split_comes_back_from_its_file(tmp_path):
    records = build_split("discovery", WORDS, TASK, 8, seed=0)
    records += build_pairs(["object", "no_commas", "box_first"], WORDS, TASK, {"train": 5}, seed=0)
    write_split(records, tmp_path / "split.jsonl")
    assert read_split(tmp_path / "split.jsonl") == records


def test_the_file_is_readable(tmp_path):
    write_split(build_split("pruning", WORDS, TASK, 3, seed=0), tmp_path / "split.jsonl")
    lines = (tmp_path / "split.jsonl").read_text().splitlines()
    assert len(lines) == 3
    prompt = json.loads(lines[1])["prompts"]
    start, end = prompt["segments"]["object"][1]
    assert prompt["text"][start:end] == prompt["answer"] == prompt["objects"][1]


def test_unknown_splits_and_too_few_boxes_are_refused():
    with pytest.raises(UserError, match="split 'training': allowed are discovery, pruning"):
        build_split("training", WORDS, TASK, 7, seed=0)
    with pytest.raises(UserError, match="boxes = 1"):
        Task(boxes=1)


def test_more_prompts_than_scenes_are_refused():
    with pytest.raises(UserError, match="for 'evaluation', and 1000 are wanted"):
        build_split("evaluation", FEW, Task(boxes=3), 3000, seed=0)


@pytest.mark.parametrize("boxes", [2, 25])
def test_few_and_many_boxes(boxes):
    task = Task(boxes=boxes)
    records = build_split("discovery", WORDS, task, boxes, seed=0)
    records += build_pairs(["object", "position"], WORDS, task, {"train": boxes}, seed=0)
    assert len(records) == 3 * boxes
