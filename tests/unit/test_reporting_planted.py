"""The comparison of planted and found heads, on tables made by hand."""

import json
import sys

import pandas as pd
import pytest

from entity_mech.errors import UserError
from entity_mech.files import write_checked_json, write_table
from entity_mech.provenance import write_resolved_config
from entity_mech.reporting import planted

CONFIG = {"models": [{"name": "tuned", "path": "models/tuned"}], "findings": {"smallest_effect": 0.1}}
TRUTH = {"A": (["object", "known_object"], [[4, 1], [5, 0]]), "B": (["position"], [[3, 2], [3, 5]])}
FOUND = {"A": ([[4, 1], [2, 2], [5, 0]], [[4, 1], [2, 2]]), "B": ([[3, 2]], [])}
SCORES = (-0.8, -0.02, -0.01)
DCM = ["model", "circuit", "letter", "desideratum", "group_size", "accuracy", "low", "high", "none_accuracy"]
ANSWERS = ["model", "letter", "desideratum", "scene", "correct", "none_correct"]
FAITHFULNESS = ["model", "circuit", "kind", "accuracy", "faithfulness", "recall"]
COMPLETENESS = ["model", "circuit", "kind", "incompleteness"]
FINDINGS = ["question", "model", "about", "answer"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of one model that was fine-tuned, whose B was repaired."""
    monkeypatch.chdir(tmp_path)
    run, model = tmp_path / "runs" / "small", tmp_path / "models" / "tuned"
    for folder in (run / "tables", run / "circuits", model):
        folder.mkdir(parents=True)
    write_resolved_config(run / "config.resolved.yaml", CONFIG)
    groups = {letter: {"carries": carries, "heads": heads} for letter, (carries, heads) in TRUTH.items()}
    (model / "wiring.json").write_text(json.dumps({"groups": groups, "repaired": {"group": "B", "matrix": "W_v"}}))
    circuit = [
        {
            "letter": letter,
            "candidates": [
                {"layer": x, "head": y, "score": s} for (x, y), s in zip(candidates, SCORES, strict=False)
            ],
            "heads": [{"layer": x, "head": y} for x, y in kept],
        }
        for letter, (candidates, kept) in FOUND.items()
    ]
    write_checked_json(run / "circuits" / "tuned.json", {"groups": circuit})
    me = ("tuned", "tuned")
    tables = {
        "dcm": (DCM, [(*me, "A", "object", 2, 0.9, 0.8, 1, 0), (*me, "B", "position", 0, 0, 0, 0, 0)]),
        "faithfulness": (
            FAITHFULNESS,
            [
                (*me, "model", 0.8, 1, 1),
                (*me, "circuit", 0.4, 0.5, 0.45),
                (*me, "ceiling", 0.72, 0.9, 0.85),
                (*me, "random", 0, 0, 0),
            ],
        ),
        "dcm_answers": (ANSWERS, [("tuned", "A", "object", scene, scene % 10 > 0, 0) for scene in range(100)]),
        "pruning": (["model", "faithfulness_before"], [("tuned", 0.95)]),
        "completeness": (COMPLETENESS, [(*me, "group", 0.3), (*me, "half", 0.1)]),
        "findings": (
            FINDINGS,
            [
                ("improved", "tuned", "A", "yes"),
                ("improved", "tuned", "B", "not shown"),
                ("improved", "tuned", "B outputs", "yes"),
            ],
        ),
    }
    for name, (columns, rows) in tables.items():
        write_table(run / "tables" / f"{name}.csv", pd.DataFrame(rows, columns=columns))
    return run


def test_groups_are_compared_head_by_head(run):
    groups = planted.group_table(run).set_index("group")
    a, b = groups.loc["A"], groups.loc["B"]
    assert (a["planted"], a["candidates"], a["kept"], a["hit"]) == ("4.1 5.0", "4.1 2.2 5.0", "4.1 2.2", "4.1")
    assert (a["precision_before"], a["recall_before"]) == (pytest.approx(2 / 3), 1)
    assert (a["precision_after"], a["recall_after"]) == (0.5, 0.5)
    assert (a["weakest_planted"], a["strongest_other"]) == (-0.01, -0.02)
    assert (b["precision_before"], b["recall_before"], b["recall_after"]) == (1, 0.5, 0)
    assert pd.isna(b["precision_after"])
    assert (a["found"], b["found"]) == ("object", planted.NO_HEADS)
    assert groups["repaired"].tolist() == [False, True]
    assert groups["named"].tolist() == ["yes", "not shown"]
    assert groups["outputs"].fillna("nothing").tolist() == ["nothing", "yes"]


def test_models_sum_up(run):
    model = planted.model_table(run, planted.group_table(run)).iloc[0]
    assert model[list(planted.MEASURED)].tolist() == [0.8, 0.95, 0.5, 0.45, 0.9, 0.3]
    assert (model["heads"], model["precision"], model["recall"]) == (2, 0.5, 0.25)
    assert (model["repaired"], model["named"]) == ("B", "A")


@pytest.mark.parametrize(
    ("moved", "found"),
    [
        ({"position": 90, "known_object": 80}, "position, known object"),
        ({"position": 90, "known_object": 5}, "position"),
        ({"position": 14, "known_object": 5}, planted.NONE),
        ({}, planted.NO_HEADS),
    ],
)
def test_a_group_is_shown_to_carry_what_the_findings_say(moved, found):
    rows = [("m", "m", "B", kind, 2, n / 100, 0, 1, 0) for kind, n in moved.items()]
    pairs = [("m", "B", kind, scene, scene < n, 0) for kind, n in moved.items() for scene in range(100)]
    tables = {"dcm": pd.DataFrame(rows, columns=DCM), "dcm_answers": pd.DataFrame(pairs, columns=ANSWERS)}
    assert planted.function_found(tables, "m", "B", 0.1) == found


def test_the_page_gets_its_tables_below_the_mark(run, monkeypatch, capsys):
    page = run / "page.md"
    page.write_text(f"# Prose\n\n{planted.MARK}old tables\n")
    monkeypatch.setattr(sys, "argv", ["planted", str(run), "--page", str(page)])
    planted.main()
    text = page.read_text()
    assert text.startswith("# Prose")
    assert "old tables" not in text
    assert "| tuned | A | 4.1 5.0 | 4.1 2.2 | 0.67 / 1.00 | 0.50 / 0.50 | -0.01 | -0.02 | object, known" in text
    assert "| tuned | B | yes | not shown (outputs: yes) |" in text
    assert text.endswith(capsys.readouterr().out.rstrip() + "\n")
    assert len(pd.read_csv(run / "tables" / "planted_groups.csv")) == 2
    page.write_text("no mark")
    with pytest.raises(UserError, match="no line"):
        planted.write_page(page, "")


def test_a_model_without_wiring_is_told(run):
    (run.parents[1] / "models" / "tuned" / "wiring.json").unlink()
    with pytest.raises(UserError, match="is missing"):
        planted.group_table(run)
