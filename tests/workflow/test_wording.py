"""A study in another wording, from its config to its figures: `let F = apple; ... F =`, the object second."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from entity_mech.task.datasets import read_split
from entity_mech.task.task import Task
from entity_mech.task.tokens import TokenizedPrompts, read_pieces, read_prompts
from tests.helpers.snakemake_runs import ROOT
from tests.helpers.study_copy import OPTIONAL, StudyCopy

SHIPPED = yaml.safe_load((ROOT / "config" / "registers.yaml").read_text())
TASK = Task.of(SHIPPED["task"])
TARGETS = (
    "models/full/path_patching.csv",
    "models/full/role_map.csv",
    "figures/circuits/full.png",
    "tables/wordings.csv",
    "tables/wording_heads.csv",
)
# The same words between other marks, and boxes: there the label comes second, and what binds the two sits there.
OTHER_WORDS = [
    {"name": "commas", "separator": ",", "end": "."},
    {
        **{"name": "boxes", "template": "the {object} is in Box {label}", "query": "Box {label} contains the"},
        **{"separator": ",", "end": ".", "capitalize": True},
    },
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyCopy:
    """The shipped config on one model and few prompts."""
    study = StudyCopy.new(tmp_path_factory.mktemp("wording") / "project")
    study.configure(
        {
            "base": "full",
            "models": [{"name": "full", "path": "demo_models/tiny/full"}],
            "task": SHIPPED["task"],
            "searches": SHIPPED["searches"],
            "prompts": dict.fromkeys(SHIPPED["prompts"], 35),
            "path_patching": {"null_map": False},
            "stability": {"wordings": OTHER_WORDS},
            "leave_out": [stage for stage in OPTIONAL if stage not in ("role_map", "wordings")],
        }
    )
    study.run(*(str(study.path(name).relative_to(study.folder)) for name in TARGETS))
    return study


@pytest.fixture(scope="module")
def prompts(study: StudyCopy) -> TokenizedPrompts:
    return read_prompts(study.path("dataset/tokens/full/evaluation.h5"), "prompts")


def test_roles_are_at_the_words_of_the_template(study: StudyCopy, prompts: TokenizedPrompts):
    pieces = read_pieces(study.path("dataset/tokens/full/evaluation.h5"))
    rows = np.arange(len(prompts))
    ids = {role: prompts.ids[rows, prompts.roles[role]] for role in TASK.roles}
    np.testing.assert_array_equal(ids["object"], prompts.answer)
    np.testing.assert_array_equal(ids["label"], ids["query_label"])
    np.testing.assert_array_equal(prompts.roles["object"], prompts.roles["label"] + 2)
    for role, word in (("let", "let"), ("equals_sign", "="), ("separator", ";"), ("last", "=")):
        assert {pieces[token] for token in ids[role].tolist()} == {word}


def test_the_model_answers_and_its_heads_sit_at_the_object(study: StudyCopy):
    """With boxes the two enough tokens are the label and the last one."""
    table = pd.read_csv(study.path("models/full/role_map.csv"), keep_default_na=False).set_index(["kind", "tokens"])
    accuracy = table["accuracy"]
    assert accuracy["intact", ""] > 0.9
    assert accuracy["enough", "object+last"] > 0.9
    assert accuracy["enough", "label+last"] < 0.3
    assert set(accuracy["needed"].index) == set(TASK.roles[1:])


def test_searches_find_heads_at_the_named_tokens(study: StudyCopy):
    scores = pd.read_csv(study.path("models/full/path_patching.csv"))
    strongest = scores.groupby(["search", "token"])["score"].min()
    assert strongest["value_fetcher", "last"] < -0.5
    assert strongest["structure_reader", "correct_object"] < -0.1
    circuit = json.loads(study.path("circuits/full.json").read_text())
    assert [group["token"] for group in circuit["groups"]] == ["last", "last", "correct_object"]
    assert all(group["heads"] for group in circuit["groups"])


def test_which_heads_are_the_words_own(study: StudyCopy):
    """Between other marks the circuit works and is found again; with boxes its heads sit at the wrong token."""
    table = pd.read_csv(study.path("tables/wordings.csv")).set_index("wording")
    assert list(table.index) == ["commas", "boxes"]
    assert table.loc["boxes", "accuracy"] > 0.9
    assert table.loc["boxes", "faithfulness"] < 0.5 * table.loc["commas", "faithfulness"]
    assert table.loc["commas", "again"] > table.loc["boxes", "again"]
    heads = pd.read_csv(study.path("tables/wording_heads.csv"))
    circuit = json.loads(study.path("circuits/full.json").read_text())
    candidates = sum(len(group["candidates"]) for group in circuit["groups"])
    kept = sum(len(group["heads"]) for group in circuit["groups"])
    for name, row in table.iterrows():
        own = heads[heads["wording"] == name]
        assert own["kept"].sum() == kept
        assert row["candidates"] == candidates
        assert (own["again"] == 1).sum() >= row["again"]
    plain, boxes = (
        [record.prompts["prompts"] for record in read_split(study.path(f"dataset/{where}evaluation.jsonl"))]
        for where in ("", "wordings/boxes/")
    )
    assert {prompt.text[:4] for prompt in plain} == {"let "}
    assert {prompt.text[:4] for prompt in boxes} == {"The "}
    assert [prompt.objects for prompt in plain] == [prompt.objects for prompt in boxes]


def test_its_circuit_is_drawn(study: StudyCopy):
    drawn = pd.read_csv(study.path("figures/circuits/full.csv"))
    assert drawn.loc[drawn["letter"] == "C", "token"].unique().tolist() == ["correct_object"]
    assert study.path("figures/circuits/full.png").stat().st_size > 1000
