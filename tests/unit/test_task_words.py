"""A word may be used when every tokenizer has it as one token with its blank."""

import pytest
from tokenizers import normalizers, pre_tokenizers

from entity_mech.errors import UserError
from entity_mech.task.task import Task
from entity_mech.task.usable import usable_words
from entity_mech.task.words import (
    LETTERS,
    builtin_objects,
    objects_of,
    read_word_list,
    read_words,
    write_words,
)
from tests.helpers.task_tokenizers import KINDS, build, word_tokenizer

FRAME = ["The", "the", "is", "in", "Box", ",", ".", "contains"]


def test_the_builtin_objects_are_the_papers():
    objects = builtin_objects()
    assert len(objects) == len(set(objects)) == 85
    assert objects[0] == "book"
    assert objects[-1] == "magnet"


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_is_usable_where_it_is_one_token(kind):
    words = usable_words(builtin_objects(), LETTERS, {kind: build(kind)}, Task(boxes=7))
    assert words.objects == builtin_objects()
    assert words.labels == LETTERS
    assert words.dropped == {kind: {}}


def test_words_that_one_tokenizer_cannot_use_are_dropped_and_reported():
    tokenizers = {"a": build("bytes"), "b": build("metaspace")}
    objects = ["apple", "zeppelin", *builtin_objects()[:9]]
    words = usable_words(objects, [*LETTERS[:9], "QQ"], tokenizers, Task(boxes=7))
    assert words.objects == ("apple", *builtin_objects()[:9])
    assert words.labels == LETTERS[:9]
    for name in tokenizers:
        assert words.dropped[name] == {"zeppelin": "not one token", "QQ": "not one token"}


def test_a_word_is_dropped_for_all_when_one_tokenizer_lacks_it():
    small = word_tokenizer([*FRAME, *LETTERS, *builtin_objects()[1:]])
    words = usable_words(builtin_objects(), LETTERS, {"small": small, "bytes": build("bytes")}, Task(boxes=7))
    assert words.objects == builtin_objects()[1:]
    assert words.dropped == {"small": {"book": "unknown to the tokenizer"}, "bytes": {}}


def test_two_words_that_are_the_same_token_are_not_both_used():
    tokenizer = word_tokenizer([*(w.lower() for w in FRAME), "cup", "key", "map", "pot", "a", "b", "c", "d"])
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    words = usable_words(
        ["cup", "Cup", "key", "map", "pot", "b"], ["A", "B", "C", "D"], {"small": tokenizer}, Task(boxes=2)
    )
    assert words.objects == ("cup", "key", "map", "pot", "b")
    assert words.dropped["small"] == {"Cup": "same token as 'cup'", "B": "same token as 'b'"}


def test_words_glued_to_marks_are_not_usable():
    """A tokenizer that keeps "A," together has no token for the label alone."""
    tokenizer = word_tokenizer(["The", "the", "is", "in", "Box", "contains", "cup", "key", "map", "A,", "A.", "A"])
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with pytest.raises(UserError, match=r"tokenizer small cannot use .*A \(not one token\)"):
        usable_words(["cup", "key", "map"], ["A", "B", "C"], {"small": tokenizer}, Task(boxes=2))


def test_too_few_words_name_the_tokenizer_and_the_words():
    small = word_tokenizer([*FRAME, *LETTERS, "cup", "key", "map"])
    with pytest.raises(UserError) as error:
        usable_words(
            ["cup", "key", "map", "pot", "hat"], LETTERS, {"small": small, "bytes": build("bytes")}, Task(boxes=3)
        )
    message = str(error.value)
    assert "3 boxes need at least 4 objects, and 3 are left" in message
    assert "tokenizer small cannot use pot (unknown to the tokenizer), hat (unknown to the tokenizer)" in message
    assert "bytes" not in message


def test_as_many_labels_as_boxes_are_too_few_for_corrupted_prompts():
    with pytest.raises(UserError, match="7 boxes need at least 8 labels, and 7 are left: 7 were given"):
        usable_words(builtin_objects(), LETTERS[:7], {"bytes": build("bytes")}, Task(boxes=7))


@pytest.mark.parametrize("bad", ["two words", "", " cup", "{cup}"])
def test_a_word_must_be_one_word(bad):
    with pytest.raises(UserError, match="is not one word"):
        usable_words(["cup", "key", "map", bad], LETTERS, {"bytes": build("bytes")}, Task(boxes=2))


def test_a_word_given_twice_is_refused():
    with pytest.raises(UserError, match="'cup' is there twice"):
        usable_words(["cup", "key", "map", "cup"], LETTERS, {"bytes": build("bytes")}, Task(boxes=2))


def test_words_are_tried_in_the_users_own_sentences():
    task = Task(boxes=2, template="a {object} lies at {label}", query="At {label} lies a", separator=";", end="!")
    known = ["A", "a", "lies", "at", "At", ";", "!", "cup", "key", "map", "X", "Y", "Z"]
    words = usable_words(["cup", "key", "map"], ["X", "Y", "Z"], {"own": word_tokenizer(known)}, task)
    assert words.objects == ("cup", "key", "map")


def test_a_tokenizer_without_characters_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(UserError, match="tokenizer slow has no fast version"):
        usable_words(["cup", "key", "map"], LETTERS, {"slow": Slow()}, Task(boxes=2))


def test_words_come_back_from_their_file(tmp_path):
    words = usable_words([*builtin_objects(), "zeppelin"], LETTERS, {"bytes": build("bytes")}, Task(boxes=7))
    write_words(tmp_path / "words.json", words)
    assert read_words(tmp_path / "words.json") == words


def test_lists_of_words(tmp_path):
    (tmp_path / "a.txt").write_text("cup\n\nkey \n")
    (tmp_path / "b.csv").write_text("object,frequency\ncup,3\nkey,4\n")
    (tmp_path / "c.csv").write_text("object\n")
    assert objects_of(str(tmp_path / "a.txt")) == ("cup", "key")
    assert objects_of(str(tmp_path / "b.csv")) == ("cup", "key")
    assert objects_of(["cup"]) == ("cup",)
    assert objects_of("builtin") == builtin_objects()
    with pytest.raises(UserError, match="is empty"):
        read_word_list(tmp_path / "c.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_word_list(tmp_path / "none.txt")
