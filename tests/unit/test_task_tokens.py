"""Roles are at the right tokens whatever the tokenizer, and token files hold what they are given."""

import time

import h5py
import numpy as np
import pytest
from tokenizers import Regex, pre_tokenizers

from entity_mech.errors import UserError
from entity_mech.task.datasets import Record, build_pairs, build_split, write_split
from entity_mech.task.pair_kinds import DESIDERATA, PROBES
from entity_mech.task.prompts import render
from entity_mech.task.roles import SETS
from entity_mech.task.scenes import Scene
from entity_mech.task.task import Task
from entity_mech.task.tokenize import tokenize_pairs, tokenize_prompts, tokenize_records, tokenize_split
from entity_mech.task.tokens import (
    check_same_layout,
    digest_of,
    groups_of,
    read_attributes,
    read_pairs,
    read_pieces,
    read_prompts,
)
from entity_mech.task.words import LETTERS, Words, builtin_objects
from tests.helpers.task_tokenizers import KINDS, build, check_roles, squeezed, text_up_to, word_tokenizer

WORDS = Words(builtin_objects(), LETTERS)
TASK = Task()


@pytest.fixture(scope="module")
def discovery():
    return build_split("discovery", WORDS, TASK, 28, seed=0)


@pytest.fixture(scope="module")
def probes():
    return build_pairs(["position", *PROBES], WORDS, TASK, {"train": 21}, seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_roles_are_right_for_any_tokenizer(kind, discovery):
    tokenizer = build(kind)
    for name in ("clean", "corrupted", "null"):
        prompts = [record.prompts[name] for record in discovery]
        tokens = tokenize_prompts(prompts, tokenizer)
        check_roles(prompts, tokens, tokenizer, TASK)
        has_bos = kind in ("words", "metaspace")
        assert (tokens.roles["bos"] == (0 if has_bos else -1)).all()
        assert (tokens.ids[:, 0] == tokenizer.bos_token_id).all() == has_bos


@pytest.mark.parametrize("kind", KINDS)
def test_roles_are_right_in_changed_prompts(kind, probes):
    tokenizer = build(kind)
    groups, _ = tokenize_records(probes, tokenizer)
    for part, tokens in groups.items():
        prompts = [record.prompts["source"] for record in probes if record.part == part]
        check_roles(prompts, tokens["source"], tokenizer, TASK)
        for role in ("object", "label", "the", "box", "query_label", "last"):
            assert (tokens["source"].roles[role] >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_what_the_tokenizer_gives_the_model(kind, discovery):
    """Special tokens included, but for those behind the text."""
    tokenizer = build(kind)
    prompts = [record.prompts["clean"] for record in discovery]
    tokens = tokenize_prompts(prompts, tokenizer)
    for row, prompt in enumerate(prompts):
        ids = tokenizer(prompt.text)["input_ids"]
        assert ids[: tokens.length[row]] == tokens.ids[row, : tokens.length[row]].tolist()
        assert ids[tokens.length[row] :] == ([tokenizer.eos_token_id or 1] if kind == "unigram" else [])
        assert not tokens.ids[row, tokens.length[row] :].any()


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_what_follows_the_prompt(kind, discovery):
    tokenizer = build(kind)
    prompts = [record.prompts["clean"] for record in discovery]
    tokens = tokenize_prompts(prompts, tokenizer)
    for row, prompt in enumerate(prompts):
        full = tokenizer(f"{prompt.text} {prompt.answer}")["input_ids"]
        assert full[tokens.length[row]] == tokens.answer[row]
        choices = tokenizer.convert_ids_to_tokens(tokens.choices[row])
        assert [choice.strip("▁Ġ") for choice in choices] == list(prompt.objects)
        assert tokens.choices[row, tokens.query_index[row]] == tokens.answer[row]
        assert tokens.ids[row, tokens.roles["object"][row]] == tokens.answer[row]
        assert tokens.ids[row, tokens.roles["label"][row]] == tokens.ids[row, tokens.roles["query_label"][row]]


@pytest.mark.parametrize("kind", KINDS)
def test_sets_and_segments_cover_the_other_boxes(kind, discovery):
    tokenizer = build(kind)
    prompts = [record.prompts["clean"] for record in discovery]
    tokens = tokenize_prompts(prompts, tokenizer)
    for row, prompt in enumerate(prompts):
        others = np.delete(np.arange(7), prompt.query_index)
        found = tokenizer.convert_ids_to_tokens(tokens.ids[row, tokens.sets["other_objects"][row]])
        assert [text.strip("▁Ġ") for text in found] == [prompt.objects[k] for k in others]
        found = tokenizer.convert_ids_to_tokens(tokens.ids[row, tokens.sets["other_labels"][row]])
        assert [text.strip("▁Ġ") for text in found] == [prompt.labels[k] for k in others]
        assert tokens.sets["other_separators"][row].sum() == 6
        for name, role in SETS.items():
            assert not tokens.sets[name][row, tokens.roles[role][row]]
            assert (tokens.segment[row, tokens.sets[name][row]] == others).all()
        for role in TASK.segment_roles:
            assert tokens.segment[row, tokens.roles[role][row]] == prompt.query_index
        first_query = tokens.roles["query_box"][row]
        own_tokens = squeezed(text_up_to(tokenizer, tokens.ids[row, tokens.segment[row] == 2]))
        assert own_tokens == squeezed(f"the {prompt.objects[2]} is in Box {prompt.labels[2]},")
        assert (tokens.segment[row, first_query:] == -1).all()
        if tokens.roles["bos"][row] == 0:
            assert tokens.segment[row, 0] == -1


def test_the_published_layout():
    """7 boxes as a Llama tokenizer sees them (paper: 54 tokens, labels at 6, 13, ..., 48)."""
    records = build_split("evaluation", WORDS, TASK, 70, seed=0)
    for kind in ("words", "metaspace"):
        tokens = tokenize_prompts([record.prompts["prompts"] for record in records], build(kind))
        assert (tokens.length == 54).all()
        assert (tokens.roles["label"] == 6 + 7 * tokens.query_index).all()
        assert (tokens.roles["object"] == tokens.roles["label"] - 4).all()
        assert (tokens.roles["separator"] == tokens.roles["label"] + 1).all()
        assert (tokens.roles["query_label"] == tokens.roles["last"] - 2).all()
        assert (tokens.roles["last"] == 53).all()
        labels = tokens.sets["other_labels"].copy()
        labels[np.arange(70), tokens.roles["label"]] = True
        assert (np.argwhere(labels)[:, 1].reshape(70, 7) == range(6, 49, 7)).all()


def test_a_tokenizer_without_bos_is_one_token_shorter(discovery):
    tokens = tokenize_prompts([record.prompts["clean"] for record in discovery], build("bytes"))
    assert (tokens.length == 53).all()
    assert (tokens.roles["label"] == 5 + 7 * tokens.query_index).all()


def test_corrupted_roles_point_at_the_drawn_segment(discovery):
    prompts = [record.prompts["corrupted"] for record in discovery]
    tokens = tokenize_prompts(prompts, build("words"))
    drawn = np.array([prompt.role_segment for prompt in prompts])
    assert (tokens.roles["label"] == 6 + 7 * drawn).all()
    assert (tokens.answer == -1).all()
    labels = np.take_along_axis(tokens.ids, tokens.roles["query_label"][:, None], 1)
    assert ((tokens.ids == labels).sum(1) == 1).all(), "the query's label is nowhere else in the prompt"


def test_ablation_prompts_without_a_queried_segment_have_no_segment_roles():
    prompts = [r.prompts["prompts"] for r in build_split("ablation", WORDS, TASK, 60, seed=0) if not r.part]
    tokens = tokenize_prompts(prompts, build("words"))
    free = tokens.query_index == -1
    assert 20 < free.sum() < 60
    for role in TASK.segment_roles:
        assert (tokens.roles[role][free] == -1).all()
        assert (tokens.roles[role][~free] > 0).all()
    assert (tokens.sets["other_labels"].sum(1) == np.where(free, 7, 6)).all()
    assert (tokens.answer[free] == -1).all()


@pytest.mark.parametrize("kind", ["words", "bytes"])
def test_pairs_have_their_targets(kind):
    records = build_pairs(DESIDERATA, WORDS, TASK, {"train": 35}, seed=0)
    tokenizer = build(kind)
    for desideratum in DESIDERATA:
        mine = [record for record in records if record.part.startswith(desideratum)]
        pairs = tokenize_pairs(mine, tokenizer)
        assert len(pairs) == 35
        words = tokenizer.convert_ids_to_tokens(pairs.target)
        assert [word.strip("Ġ") for word in words] == [record.target for record in mine]
        in_base = (pairs.base.choices == pairs.target[:, None]).any(1)
        assert (in_base == (desideratum != "object")).all()
        if desideratum in ("object", "known_object"):
            assert (pairs.target == pairs.source.answer).all()
        if desideratum in ("position", "known_object"):
            at = np.take_along_axis(pairs.base.choices, pairs.source.query_index[:, None], 1)
            assert (at[:, 0] == pairs.target).all() == (desideratum == "position")


def test_changed_sources_keep_their_own_width_and_segments(probes):
    groups, _ = tokenize_records(probes, build("words"))
    for part, tokens in groups.items():
        boxes = 8 if part.startswith("segment_at") else 7
        assert tokens["source"].choices.shape == (21, boxes)
        assert tokens["base"].choices.shape == (21, 7)
    source = groups["segment_at_start/train"]["source"]
    assert (source.segment[np.arange(21), source.roles["label"]] == source.query_index).all()
    assert (source.query_index >= 1).all()
    no_commas = groups["no_commas/train"]["source"]
    assert ((no_commas.roles["separator"] == -1) == (no_commas.query_index < 6)).all()


def test_rows_pick_prompts_and_trim_their_padding(probes):
    groups, targets = tokenize_records(probes, build("words"))
    pairs_part = groups["no_commas/train"]
    tokens = pairs_part["source"]
    mixed = tokenize_prompts(
        [r.prompts["source"] for r in probes if r.part in ("no_commas/train", "extra_comma/train")], build("words")
    )
    assert len(mixed) == 42
    assert mixed.ids.shape[1] == 61
    short = mixed.rows(slice(0, 21))
    assert short.ids.shape == short.segment.shape == (21, 48)
    assert short.sets["other_labels"].shape == (21, 48)
    np.testing.assert_array_equal(short.ids, tokens.ids)
    mask = mixed.query_index == 3
    index = np.flatnonzero(mask)
    for name in ("ids", "answer", "choices", "scene", "segment", "length"):
        np.testing.assert_array_equal(getattr(mixed.rows(mask), name), getattr(mixed.rows(index), name))
    assert (mixed.rows(mask).roles["label"] == mixed.roles["label"][index]).all()
    assert len(mixed.rows(np.array([], np.int64))) == 0
    pairs = tokenize_pairs([r for r in probes if r.part == "no_commas/train"], build("words"))
    some = pairs.rows([4, 2])
    assert some.target.tolist() == pairs.target[[4, 2]].tolist()
    assert some.source.length.tolist() == pairs.source.length[[4, 2]].tolist()
    assert (targets["no_commas/train"] == pairs.target).all()


def write(tmp_path, records, split, tokenizer, name="tokens.h5"):
    write_split(records, tmp_path / "split.jsonl")
    tokenize_split(tmp_path / "split.jsonl", tokenizer, tmp_path / name, split=split, name="tiny", seed=5)
    return tmp_path / name


def same_prompts(a, b):
    for name in ("ids", "length", "segment", "answer", "choices", "query_index", "scene"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == getattr(b, name).dtype == np.int64
    assert set(a.roles) == set(b.roles)
    assert set(a.sets) == set(b.sets)
    for mine, other in ((a.roles, b.roles), (a.sets, b.sets)):
        for name in mine:
            np.testing.assert_array_equal(mine[name], other[name])
            assert mine[name].dtype == other[name].dtype


def test_prompts_come_back_from_their_file(tmp_path, discovery):
    path = write(tmp_path, discovery, "discovery", build("words"))
    groups, _ = tokenize_records(discovery, build("words"))
    for name in ("clean", "corrupted", "null"):
        same_prompts(read_prompts(path, name), groups[""][name])
    assert groups_of(path) == ["clean", "corrupted", "null"]
    assert read_attributes(path) == {
        "dataset": digest_of(tmp_path / "split.jsonl"),
        "tokenizer": "tiny",
        "split": "discovery",
        "seed": 5,
    }


def test_pairs_come_back_from_their_file(tmp_path):
    records = build_pairs(["object", "no_commas"], WORDS, TASK, {"train": 9, "test": 3}, seed=0)
    path = write(tmp_path, records, "dcm", build("bytes"))
    for part in ("object/train", "object/test", "no_commas/train", "no_commas/test"):
        found = read_pairs(path, part)
        pairs = tokenize_pairs([record for record in records if record.part == part], build("bytes"))
        same_prompts(found.base, pairs.base)
        same_prompts(found.source, pairs.source)
        np.testing.assert_array_equal(found.target, pairs.target)
    with pytest.raises(UserError, match="has no group 'label/train'; it has no_commas, object"):
        read_pairs(path, "label/train")
    with pytest.raises(UserError, match="holds no pairs"):
        read_pairs(path, "object/train/base")


def test_token_files_are_the_same_bytes_again(tmp_path, discovery):
    first = write(tmp_path, discovery, "discovery", build("words"), "a.h5").read_bytes()
    time.sleep(1.1)  # HDF5 counts time in seconds
    assert write(tmp_path, discovery, "discovery", build("words"), "a.h5").read_bytes() == first


def test_pieces_are_the_texts_of_the_tokens(tmp_path, discovery):
    for kind in ("words", "bytes", "unigram"):
        path = write(tmp_path, discovery, "discovery", build(kind))
        pieces, tokens = read_pieces(path), read_prompts(path, "clean")
        text = [pieces[i] for i in tokens.ids[0, : tokens.length[0]].tolist()]
        assert squeezed("".join(text)).removeprefix("<s>") == squeezed(discovery[0].prompts["clean"].text)


def test_large_splits_are_compressed_on_disk(tmp_path):
    path = write(tmp_path, build_split("pruning", WORDS, TASK, 280, seed=0), "pruning", build("words"))
    with h5py.File(path) as file:
        assert file["prompts/ids"].compression == "gzip"
        assert file["prompts/ids"].dtype == np.int32
    assert path.stat().st_size < 280 * 54 * 4 * 2


def changed_tokenizer(pattern):
    """A word tokenizer that splits by another pattern."""
    tokenizer = word_tokenizer(
        [*builtin_objects(), *LETTERS, "The", "the", "is", "in", "Box", "contains", ",", ".", "is in"]
    )
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    return tokenizer


def test_two_roles_on_one_token_are_refused_by_name(discovery):
    tokenizer = changed_tokenizer(r"is in|\w+|[^\w\s]")
    with pytest.raises(UserError) as error:
        tokenize_prompts([discovery[0].prompts["clean"]], tokenizer, "tiny")
    assert "tiny: is of segment 1 and in of segment 1 are one token ('is in') in 'The " in str(error.value)


def test_a_label_that_is_not_one_token_is_refused(discovery):
    text = discovery[0].prompts["clean"]
    tokenizer = changed_tokenizer(r"Box [A-Z]|\w+|[^\w\s]")
    with pytest.raises(UserError, match=f"tiny: '{text.labels[0]}' is not one token in 'The"):
        tokenize_prompts([text], tokenizer, "tiny")


def test_an_object_that_is_not_one_token_is_refused():
    prompt = render(Scene(("zeppelin", "key"), ("A", "B")), 0, TASK)
    with pytest.raises(UserError, match="tiny: 'zeppelin' is not one token in 'The zeppelin is"):
        tokenize_prompts([prompt], build("bytes"), "tiny")


def test_an_answer_that_changes_the_prompt_is_refused():
    tokenizer = changed_tokenizer(r"the key$|\w+|[^\w\s]")
    prompt = render(Scene(("cup", "key"), ("A", "B")), 0, TASK)
    with pytest.raises(UserError, match="as the answer, 'key' is not the one token"):
        tokenize_prompts([prompt], tokenizer, "tiny")


def test_words_that_a_tokenizer_does_not_know_are_said_and_no_error(capsys):
    known = ["The", "the", "is", "in", "Box", "contains", ",", ".", *builtin_objects(), *LETTERS]
    records = build_pairs(["text_at_start", "is_not_in"], WORDS, TASK, {"train": 7}, seed=0)
    tokenize_records(records, word_tokenizer(known), "tiny")
    said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(said) == 2
    assert said[0].endswith(
        "warning: tiny: text_at_start/train source: the tokenizer does not know "
        "There, a, are, boxes, bunch, containing, objects, of"
    )
    assert said[1].endswith("is_not_in/train source: the tokenizer does not know not")


def test_prompts_that_are_averaged_must_be_laid_out_alike(tmp_path):
    scene = Scene(("cup", "key"), ("A", "B"))
    longer = Task(template="the {object} is in the Box {label}")
    prompts = [render(scene, 0, task) for task in (TASK, longer)]
    records = [Record("", {"prompts": prompt}) for prompt in prompts]
    with pytest.raises(UserError, match=r"split ablation, tokenizer tiny: .*2 layouts, lengths \[19, 21\]"):
        write(tmp_path, records, "ablation", build("words"))
    write(tmp_path, records, "discovery", build("words"))
    a, b = (tokenize_prompts([prompt], build("words")) for prompt in prompts)
    check_same_layout(a, a, "same")
    with pytest.raises(UserError, match="evaluation and ablation"):
        check_same_layout(a, b, "evaluation and ablation")


def test_many_prompts_are_tokenized_in_chunks_to_the_same_result():
    prompts = [r.prompts["prompts"] for r in build_split("evaluation", WORDS, TASK, 1400, seed=0)]
    tokenizer = build("words")
    start = time.process_time()
    whole = tokenize_prompts(prompts, tokenizer)
    assert time.process_time() - start < 6
    same_prompts(whole.rows(slice(1000, 1100)), tokenize_prompts(prompts[1000:1100], tokenizer))
