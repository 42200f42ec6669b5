"""The text of a prompt, and the characters of its roles."""

import pytest

from entity_mech.errors import UserError
from entity_mech.task.prompts import Change, render
from entity_mech.task.scenes import Scene
from entity_mech.task.task import Task

SCENE = Scene(("apple", "key", "hat"), ("F", "B", "Q"))


def words_of(prompt, k):
    """The words of a segment's roles."""
    spans = {role: spans[k] for role, spans in prompt.segments.items()}
    return {role: None if span is None else prompt.text[slice(*span)] for role, span in spans.items()}


def test_the_text_is_the_papers():
    prompt = render(SCENE, 1, Task())
    assert prompt.text == "The apple is in Box F, the key is in Box B, the hat is in Box Q. Box B contains the"
    assert (prompt.answer, prompt.query_index, prompt.role_segment) == ("key", 1, 1)


def test_every_role_is_where_its_word_is():
    prompt = render(SCENE, 2, Task())
    assert " ".join(prompt.segments) == "the object is in box label separator"
    assert " ".join(prompt.query) == "query_box query_label contains last"
    assert list(words_of(prompt, 0).values()) == ["The", "apple", "is", "in", "Box", "F", ","]
    assert list(words_of(prompt, 1).values()) == ["the", "key", "is", "in", "Box", "B", ","]
    assert list(words_of(prompt, 2).values()) == ["the", "hat", "is", "in", "Box", "Q", "."]
    assert [prompt.text[a:b] for a, b in prompt.query.values()] == ["Box", "Q", "contains", "the"]
    assert prompt.query["last"][1] == len(prompt.text)


def test_another_query_label_leaves_no_answer():
    prompt = render(SCENE, 1, Task(), query_label="Z", role_segment=2)
    assert prompt.text.endswith(" Box Z contains the")
    assert (prompt.answer, prompt.query_index, prompt.role_segment) == (None, 1, 2)
    assert render(SCENE, 1, Task(), query_label="B").answer == "key"
    free = render(SCENE, -1, Task(), query_label="Z")
    assert (free.answer, free.query_index, free.role_segment) == (None, -1, -1)


@pytest.mark.parametrize(
    ("template", "roles"),
    [
        ("the {object} is contained in the Box {label}", ["The", "apple", "is", "in", "Box", "F", ","]),
        ("Box {label} contains the {object}", ["the", "apple", None, None, "Box", "F", ","]),
        ("the {object} is not in Box {label}", ["The", "apple", "is", "in", "Box", "F", ","]),
        ("the {object}, is in Box {label}", ["The", "apple", "is", "in", "Box", "F", ","]),
        ("{object} at {label}", [None, "apple", None, None, None, "F", ","]),
    ],
)
def test_roles_are_found_in_a_changed_segment(template, roles):
    prompt = render(SCENE, 0, Task(), change=Change(queried=template))
    assert list(words_of(prompt, 0).values()) == roles
    assert list(words_of(prompt, 1).values()) == ["the", "key", "is", "in", "Box", "B", ","]


def test_a_repeated_word_is_not_taken_for_the_role():
    """In "is contained in the Box", `the` is the word before the object and not the one before the box."""
    prompt = render(SCENE, 0, Task(), change=Change(queried="the {object} is contained in the Box {label}"))
    assert prompt.segments["the"][0] == (0, 3)
    assert prompt.text[prompt.segments["in"][0][0] :].startswith("in the Box")


def test_sentences_of_ones_own():
    wording = Task(
        template="ein {object} liegt in Kiste {label}", query="In {label} liegt ein", separator=";", end="!"
    )
    prompt = render(SCENE, 1, wording)
    assert prompt.text == (
        "Ein apple liegt in Kiste F; ein key liegt in Kiste B; ein hat liegt in Kiste Q! In B liegt ein"
    )
    assert list(words_of(prompt, 1).values()) == ["ein", "key", "liegt", "in", "Kiste", "B", ";"]
    assert [prompt.text[a:b] for a, b in prompt.query.values()] == ["In", "B", "liegt", "ein"]


def test_a_short_query_has_fewer_roles():
    prompt = render(SCENE, 1, Task(query="{label} has"))
    assert list(prompt.query) == ["query_label", "last"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"template": "the {object} is in Box"},
        {"template": "the {object} is in Box {label} {label}"},
        {"template": "the {object} is in Box{label}"},
        {"template": "the {object} is in {place} {label}"},
        {"query": "Box contains the"},
        {"query": "the box is {label}"},
        {"query": "Box {label} contains the {object}"},
        {"query": "Box {label}"},
        {"query": "Box {label} contains the "},
        {"template": "{object}{label}"},
        {"separator": "and then"},
        {"end": ""},
    ],
)
def test_templates_are_checked(wrong):
    with pytest.raises(UserError):
        Task(**wrong)
