"""A wording in the config: what is refused, and in which words; which tokens it has, and which probes."""

from dataclasses import replace

import pytest

from entity_mech.config.load import load_config
from entity_mech.config.schema import Config
from entity_mech.errors import UserError
from entity_mech.task.pair_kinds import PROBES
from entity_mech.task.task import Task

HAS = {"template": "Box {label} has the {object}"}
ROLES = "box, label, has, the, object, separator, query_box, query_label, contains, last"
ROLES += ", previous_label, correct_object"


def refused(raw: dict) -> list[str]:
    """The mistakes that are found in a config."""
    with pytest.raises(UserError) as error:
        load_config(raw, check_files=False)
    return [line.removeprefix("  - ") for line in str(error.value).splitlines()[1:]]


def search(name: str, letter: str, token: str, *receivers: tuple[str, str]) -> dict:
    """A search into inputs of others, or into the logits."""
    found = [{"search": one, "input": kind} for one, kind in receivers] or ["logits"]
    return {"name": name, "letter": letter, "token": token, "receivers": found}


A = search("a", "A", "last")
NO_PROBES = {"leave_out": ["probes"]}  # they need their group among the searches


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"template": "the {object}"}, "template: 'the {object}' should have {object} and {label}, once each"),
        ({"template": "{object}{label}"}, "template: '{object}{label}' should have {object} and {label}, once each"),
        ({"query": "Box {label}"}, "query: 'Box {label}' should have {label} once, as a word of its own"),
        ({"query": 3}, "query: 3 should be text"),
        ({"separator": " and"}, "separator: ' and' should be punctuation without blanks."),
        ({"end": ""}, "end: '' should not be empty."),
        ({"tempalte": ""}, "tempalte: there is no such key"),
        ({"probe_texts": {"box_first": "none"}}, "probe_texts.box_first: 'none' should have {object} and {label}"),
        ({"probe_texts": {"text_at_ende": "x"}}, "probe_texts.text_at_ende: there is no such key"),
        ({"probe_texts": 3}, "probe_texts: 3 should be keys with values."),
        (HAS | {"probe_texts": 3}, "probe_texts: 3 should be keys with values."),
        (HAS | {"probe_texts": {"box_first": "Box {label}: {object}"}}, "probe_texts.box_first: 'Box"),
    ],
)  # fmt: skip
def test_a_wording_that_cannot_be_used_is_refused_in_one_sentence(task, said):
    (line,) = refused({"task": task})
    assert line.startswith(f"task.{said}")


@pytest.mark.parametrize(
    ("task", "chain", "said"),
    [
        ({}, [search("b", "B", "bos", ("a", "k"))], "[1].token: at 'bos', the first token, a head's output"),
        (
            HAS,
            [search("b", "B", "hass", ("a", "k"))],
            f"[1].token: 'hass' is not a token role of this task: {ROLES}. Did you mean 'has'?",
        ),
        (
            HAS,
            [search("b", "B", "is", ("a", "k"))],
            f"[1].token: 'is' is not a token role of this task: {ROLES}.",
        ),
        (
            HAS,
            [search("b", "B", "label", ("a", "k")), search("c", "C", "object", ("b", "v"))],
            "[2].receivers[0]: b sits at 'label', which comes before 'object' and cannot see v there.",
        ),
    ],
)  # fmt: skip
def test_a_token_that_the_wording_lacks_is_refused_with_those_it_has(task, chain, said):
    (line,) = refused({"task": task, "searches": [A, *chain], **NO_PROBES})
    assert line.startswith(f"searches{said}")


def test_the_order_of_tokens_is_the_templates():
    """Heads at the object can feed heads at the label where the object is named first, and the other way round."""
    chain = [A, search("b", "B", "correct_object", ("a", "k")), search("c", "C", "previous_label", ("b", "v"))]
    assert len(load_config({"task": HAS, "searches": chain, **NO_PROBES}, check_files=False).searches) == 3
    (line,) = refused({"searches": chain, **NO_PROBES})
    assert "b sits at 'correct_object', which comes before 'previous_label'" in line


def test_another_template_starts_without_the_default_ones_probe_texts():
    given = HAS | {"probe_texts": {"is_not_in": "Box {label} has no {object}"}}
    own = load_config({"task": given}, check_files=False)
    structural = ("no_commas", "extra_comma", "segment_at_start", "segment_at_end", "next_segment")
    assert own.the_task().probes == (*structural, "is_not_in")
    again = load_config({"task": own.task.model_dump()}, check_files=False)
    assert again.task == own.task, "the resolved config says the same"
    fewer = load_config({"task": {"probe_texts": {"is_not_in": None}}}, check_files=False)
    assert set(PROBES) - set(fewer.the_task().probes) == {"is_not_in"}


def test_the_configs_default_is_the_tasks():
    assert Config().the_task() == replace(Task(), probe_texts=Task().texts)


def test_other_wordings_take_from_the_task_what_they_do_not_say():
    given = [{"name": "holds", "query": "Box {label} holds the"}, {"name": "marks", "separator": ";"}]
    config = load_config({"stability": {"wordings": given}, "task": {"boxes": 5}}, check_files=False)
    tasks = {name: Task.of(values) for name, values in config.wordings().items()}
    own = replace(config.the_task(), probe_texts=None)
    assert tasks == {
        "holds": replace(own, query="Box {label} holds the"),
        "marks": replace(own, separator=";"),
    }
    assert "wordings" not in config.plan().leave_out
    assert "wordings" in Config().plan().leave_out


@pytest.mark.parametrize(
    ("wordings", "said"),
    [
        ([{"name": "x"}, {"name": "x"}], ": two wordings are named 'x'."),
        ([{"name": "x", "template": "a {label}"}], "[0].template: 'a {label}' should have {object} and {label}"),
        ([{"name": "x", "query": "Box {label}"}], "[0].query: 'Box {label}' should have {label} once"),
        ([{"name": "x", "end": ""}], "[0].end: '' should not be empty."),
        ([{"template": "the {object} is in {label}"}], "[0].name: this key is missing"),
        ([{"name": "x", "word": "y"}], "[0].word: there is no such key"),
        (
            [{"name": "y", "separator": ";"}, {"name": "x", "template": "{object} {label}"}],
            "[1]: in these words the chain cannot be searched. searches[1].token: 'in' is not a token role",
        ),
        (
            [{"name": "x", "template": "{label} in {object}"}],
            "[0]: in these words the chain cannot be searched. searches[2].receivers[0]: b sits at 'in', which comes",
        ),
    ],
)
def test_other_wordings_that_cannot_be_used_are_refused(wordings, said):
    chain = [{**search("a", "A", "last")}, search("b", "B", "in", ("a", "k")), search("d", "D", "object", ("b", "k"))]
    lines = refused({"stability": {"wordings": wordings}, "searches": chain, **NO_PROBES})
    assert [line for line in lines if line.startswith(f"stability.wordings{said}")], lines
    assert all(line.startswith("stability.wordings") for line in lines)
