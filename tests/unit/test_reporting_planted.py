"""The comparison of planted and found heads, on tables made by hand."""

import json
import sys

import pandas as pd
import pytest
import yaml

from entity_mech.errors import UserError
from entity_mech.reporting import planted

TRUTH = {"A": ("object", [[4, 1], [5, 0]]), "B": ("position", [[3, 2], [3, 5]])}
FOUND = {"A": ([[4, 1], [2, 2], [5, 0]], [[4, 1], [2, 2]]), "B": ([[3, 2]], [])}
SCORES = (-0.8, -0.02, -0.01)
DCM = ["model", "circuit", "letter", "desideratum", "group_size", "accuracy", "low", "high", "none_accuracy"]
FAITHFULNESS = ["model", "circuit", "kind", "accuracy", "faithfulness"]
COMPLETENESS = ["model", "circuit", "kind", "incompleteness"]
FINDINGS = ["question", "model", "about", "answer"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of one model that was fine-tuned, whose B was repaired."""
    monkeypatch.chdir(tmp_path)
    run, model = tmp_path / "results" / "small", tmp_path / "models" / "tuned"
    for folder in (run / "tables", run / "circuits", model):
        folder.mkdir(parents=True)
    (run / "config.resolved.yaml").write_text(yaml.safe_dump({"models": [{"name": "tuned", "path": "models/tuned"}]}))
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
    (run / "circuits" / "tuned.json").write_text(json.dumps({"groups": circuit}))
    me = ("tuned", "tuned")
    tables = {
        "dcm": (DCM, [(*me, "A", "object", 2, 0.9, 0.8, 1, 0), (*me, "B", "position", 0, 0, 0, 0, 0)]),
        "faithfulness": (
            FAITHFULNESS,
            [(*me, "model", 0.8, 1), (*me, "circuit", 0.4, 0.5), (*me, "ceiling", 0.72, 0.9), (*me, "random", 0, 0)],
        ),
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
        pd.DataFrame(rows, columns=columns).to_csv(run / "tables" / f"{name}.csv", index=False)
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
    assert model[["accuracy", "faithfulness", "ceiling", "incompleteness"]].tolist() == [0.8, 0.5, 0.9, 0.3]
    assert (model["heads"], model["precision"], model["recall"]) == (2, 0.5, 0.25)
    assert (model["repaired"], model["named"]) == ("B", "A")


@pytest.mark.parametrize(
    ("position", "low", "found"),
    [(0.3, 0.25, "position"), (0.3, 0.15, planted.NONE), (0.3, 0.05, planted.NONE)],
    ids=["above all", "within another's interval", "not above no patching"],
)
def test_a_function_is_shown_above_its_rivals_and_above_no_patching(position, low, found):
    rows = [("m", "m", "B", "position", 2, position, low, 0.4, 0.1), ("m", "m", "B", "label", 2, 0.1, 0, 0.2, 0.1)]
    assert planted.function_found(pd.DataFrame(rows, columns=DCM), "m", "B") == found


def test_the_page_gets_its_tables_below_the_mark(run, monkeypatch, capsys):
    page = run / "page.md"
    page.write_text(f"# Prose\n\n{planted.MARK}old tables\n")
    monkeypatch.setattr(sys, "argv", ["planted", str(run), "--page", str(page)])
    planted.main()
    text = page.read_text()
    assert text.startswith("# Prose")
    assert "old tables" not in text
    assert "| tuned | A | 4.1 5.0 | 4.1 2.2 | 0.67 / 1.00 | 0.50 / 0.50 | -0.01 | -0.02 | object | object |" in text
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
