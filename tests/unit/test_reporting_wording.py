"""Figures say a prompt in the task's own words, whatever the wording."""

import pandas as pd

import tests.helpers.reporting_stage_tables as more
from entity_mech.reporting.figures.attention import attention
from entity_mech.reporting.figures.circuit_diagram import circuit_diagram
from entity_mech.reporting.figures.role_map import members, role_map
from entity_mech.reporting.study import Study
from tests.helpers.figure_text import cut_off, overlaps, placed_texts

GROUPS = [
    {"name": "value_fetcher", "letter": "A", "token": "last"},
    {"name": "structure_reader", "letter": "B", "token": "correct_object", "receivers": [["value_fetcher", "k"]]},
    {"name": "mark_reader", "letter": "C", "token": "equals_sign", "receivers": [["value_fetcher", "v"]]},
]
TASK = {"boxes": 3, "template": "let {label} = {object}", "query": "{label} =", "separator": ";", "end": ";"}
STUDY = Study.from_dict(
    {
        "models": ["base", "full"],
        "base": "base",
        "fine_tuned": ["full"],
        "groups": GROUPS,
        "task": {**TASK, "capitalize": False},
    }
)
WORDS = ["let", "M", "=", "apple", ";", "…", "M", "="]


def test_the_circuit_stands_above_the_tasks_words() -> None:
    heads = [("value_fetcher", "A", "last", 3, 2), ("structure_reader", "B", "correct_object", 2, 1)]
    heads.append(("mark_reader", "C", "equals_sign", 1, 0))
    rows = [(*head, -0.5, True) for head in heads]
    circuit = pd.DataFrame(rows, columns=["search", "letter", "token", "layer", "head", "score", "kept"])
    figure = circuit_diagram(STUDY, "full", circuit, 4).figure
    texts = placed_texts(figure)
    words = [text for text, *_ in texts if text in WORDS or text.startswith("→")]
    assert words == [*WORDS, "→ apple"]
    left = {text: left for text, left, *_ in texts}
    assert left["C   1 head"] < left["B   1 head"] < left["A   1 head"], "lanes stand in the order of the words"
    assert not overlaps(texts)
    assert not cut_off(figure, texts)


def test_the_role_map_has_the_tasks_words_and_sets() -> None:
    table = more.role_map(STUDY)
    assert {"equals_sign", "let"} <= set(table["tokens"])
    assert not {"contains", "query_box"} & set(table["tokens"])
    assert "object+last" in set(table["tokens"]), "the object comes second, so it is tried too"
    figure = role_map(STUDY, table).figure
    for axes in figure.axes[::2]:
        assert [label.get_text() for label in axes.get_xticklabels()] == [w if w != "…" else "others" for w in WORDS]
    assert members(STUDY.task, "segment") == ({"let", "label", "equals_sign", "object", "separator"}, [])
    assert members(STUDY.task, "query+other_separators") == ({"query_label", "last"}, ["semicolons"])


def test_attention_has_a_column_for_each_role_in_the_order_of_the_prompt() -> None:
    means, prompt = more.attention(STUDY)
    texts = placed_texts(attention(STUDY, means, prompt).figure)
    left = {text: left for text, left, *_ in texts}
    names = ["bos", "let", "label", "equals sign", "object", "separator", "query label", "last", "segment 1"]
    assert sorted(names, key=left.__getitem__) == names
