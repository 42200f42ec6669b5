"""Planted models: what was found in them beside what was put there (docs/planted.md).

    python -m entity_mech.reporting.planted results/planted results/planted_hard --page docs/planted.md

reads the results of finished runs, and wiring.json beside each model of theirs. Writes planted_groups.csv and
planted_models.csv into each run's tables, and the page's tables, which stand below its MARK.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from entity_mech.errors import UserError
from entity_mech.files import read_checked_json, read_json, read_table, write_table, write_text
from entity_mech.provenance import read_resolved_config
from entity_mech.reporting.findings.improved import about_outputs
from entity_mech.reporting.findings.same_functions import carried
from entity_mech.reporting.tables import Tables
from entity_mech.task.pair_kinds import in_words

MARK = "<!-- tables: written by `python -m entity_mech.reporting.planted`; do not edit below -->\n"
NONE, NO_HEADS = "none", "no heads"
MEASURED = ("accuracy", "before_pruning", "faithfulness", "answers_kept", "ceiling", "incompleteness")
Heads = list[tuple[int, int]]


def group_table(run: Path) -> pd.DataFrame:
    """What was planted and found, a row a (model, group).

    precision, recall: of the candidates (before pruning) and of the heads kept (after); precision is empty where
    there are no heads. weakest_planted, strongest_other: path-patching scores among the candidates. carries, found:
    what the group passes on in truth and by DCM. repaired, named: whether fine-tuning repaired it, and what the
    findings say of it (yes, no, not shown, empty; nothing for models that were not fine-tuned). outputs: what
    they say of its outputs, which also hold what was repaired before it.
    """
    tables = {name: read_table(run / "tables" / f"{name}.csv") for name in ("dcm", "dcm_answers", "findings")}
    smallest = read_resolved_config(run / "config.resolved.yaml")["findings"]["smallest_effect"]
    rows = []
    for model, wiring in read_wirings(run).items():
        repaired = (wiring["repaired"] or {}).get("group")
        for group in read_checked_json(run / "circuits" / f"{model}.json")["groups"]:
            letter, truth = group["letter"], wiring["groups"][group["letter"]]
            rows.append(
                {
                    "model": model,
                    "group": letter,
                    **_heads_found(truth, group),
                    "carries": ", ".join(map(in_words, truth["carries"])),
                    "found": function_found(tables, model, letter, smallest),
                    "repaired": letter == repaired,
                    "named": _named(tables["findings"], model, letter),
                    "outputs": _named(tables["findings"], model, about_outputs(letter)),
                }
            )
    return pd.DataFrame(rows)


def model_table(run: Path, groups: pd.DataFrame) -> pd.DataFrame:
    """How well the circuit does what the model does, a row a model; repaired and named are letters.

    before_pruning: faithfulness of the candidates, on the pruning prompts; faithfulness, ceiling: of the circuit, and
    of all heads at the same tokens. answers_kept: share of the model's right answers that the circuit gives too.
    incompleteness: the largest of the
    random halves and whole groups that were removed. precision, recall: over all groups, after pruning.
    """
    faithfulness = read_table(run / "tables" / "faithfulness.csv")
    completeness = read_table(run / "tables" / "completeness.csv")
    pruning = read_table(run / "tables" / "pruning.csv").set_index("model")
    rows = []
    for model in groups["model"].unique():
        own = groups[groups["model"] == model]
        measured = faithfulness[(faithfulness["model"] == model) & (faithfulness["circuit"] == model)]
        of = measured.set_index("kind")
        missing = completeness[(completeness["model"] == model) & (completeness["circuit"] == model)]
        planted, kept, hit = (own[name].map(_count).sum() for name in ("planted", "kept", "hit"))
        rows.append(
            {
                "model": model,
                "accuracy": of.loc["model", "accuracy"],
                "before_pruning": pruning.loc[model, "faithfulness_before"],
                "faithfulness": of.loc["circuit", "faithfulness"],
                "answers_kept": of.loc["circuit", "recall"],
                "ceiling": of.loc["ceiling", "faithfulness"],
                "incompleteness": missing["incompleteness"].max(),
                "heads": kept,
                "precision": hit / kept if kept else None,
                "recall": hit / planted,
                "repaired": "".join(own["group"][own["repaired"]]),
                "named": "".join(own["group"][own["named"] == "yes"]),
            }
        )
    return pd.DataFrame(rows)


def read_wirings(run: Path) -> dict[str, dict[str, Any]]:
    """wiring.json of every model of a run, by name. Raises UserError for a model that has none."""
    config = read_resolved_config(run / "config.resolved.yaml")
    return {model["name"]: read_json(Path(model["path"]) / "wiring.json") for model in config["models"]}


def function_found(tables: Tables, model: str, letter: str, smallest: float) -> str:
    """What a group of a model's own circuit is shown to carry, as the findings have it; or NONE, or NO_HEADS."""
    found = carried(tables, model, letter, smallest)
    if not found.effects:
        return NO_HEADS
    return ", ".join(in_words(one.desideratum) for one in found.shown) or NONE


def _heads_found(truth: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    planted: Heads = [(layer, head) for layer, head in truth["heads"]]
    scores = {(head["layer"], head["head"]): float(head["score"]) for head in group["candidates"]}
    kept: Heads = [(head["layer"], head["head"]) for head in group["heads"]]
    right = {head: score for head, score in scores.items() if head in planted}
    wrong = [score for head, score in scores.items() if head not in planted]
    hit = [head for head in kept if head in planted]
    return {
        "planted": _names(planted),
        "candidates": _names(scores),
        "kept": _names(kept),
        "hit": _names(hit),
        "precision_before": len(right) / len(scores) if scores else None,
        "recall_before": len(right) / len(planted),
        "precision_after": len(hit) / len(kept) if kept else None,
        "recall_after": len(hit) / len(planted),
        "weakest_planted": max(right.values(), default=None),
        "strongest_other": min(wrong, default=None),
    }


def _named(findings: pd.DataFrame, model: str, about: str) -> str | None:
    said = findings[
        (findings["question"] == "improved") & (findings["model"] == model) & (findings["about"] == about)
    ]
    return None if said.empty else str(said["answer"].iloc[0])


def _names(heads: Iterable[tuple[int, int]]) -> str:
    return " ".join(f"{layer}.{head}" for layer, head in heads)


def _count(names: str) -> int:
    return len(names.split())


# The page ---------------------------------------------------------------------------------------------------


def tables_text(run: str, groups: pd.DataFrame, models: pd.DataFrame) -> str:
    """A run's tables as Markdown: circuits, groups, and what the findings say was improved."""
    circuits = [
        {
            "model": row["model"],
            **{name.replace("_", " "): _number(row[name]) for name in MEASURED},
            "heads": str(row["heads"]),
            "precision / recall": _pair(row["precision"], row["recall"]),
        }
        for row in models.to_dict("records")
    ]
    found = [
        {
            "model": row["model"],
            "group": row["group"],
            "planted": row["planted"],
            "kept": row["kept"] or "-",
            "before": _pair(row["precision_before"], row["recall_before"]),
            "after": _pair(row["precision_after"], row["recall_after"]),
            "weakest planted": _number(row["weakest_planted"], ".2g"),
            "strongest other": _number(row["strongest_other"], ".2g"),
            "carries": row["carries"],
            "DCM says": row["found"],
        }
        for row in groups.to_dict("records")
    ]
    improved = [
        {
            "model": str(model),
            "repaired": "".join(own["group"][own["repaired"]]),
            **{
                row["group"]: row["named"] + ("" if pd.isna(row["outputs"]) else f" (outputs: {row['outputs']})")
                for row in own.to_dict("records")
            },
        }
        for model, own in groups.dropna(subset="named").groupby("model", sort=False)
    ]
    tables = {"circuits": circuits, "groups": found, "was the group improved?": improved}
    return "\n".join(f"## {run}: {title}\n\n{_table(rows)}" for title, rows in tables.items() if rows)


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float, format_: str = ".2f") -> str:
    return "-" if pd.isna(value) else format(value, format_)


def _pair(precision: float, recall: float) -> str:
    return f"{_number(precision)} / {_number(recall)}"


def write_page(page: Path, text: str) -> None:
    """Put the tables below a page's MARK. Raises UserError when it has none."""
    above, mark, _ = page.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise UserError(f"{page} has no line {MARK.strip()}, below which its tables would stand")
    write_text(page, f"{above}{MARK}\n{text}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m entity_mech.reporting.planted", description="Planted and found.")
    parser.add_argument("runs", type=Path, nargs="+", help="results of runs on planted models")
    parser.add_argument("--page", type=Path, help="page whose tables are written anew")
    options = parser.parse_args()
    texts = []
    for run in options.runs:
        groups = group_table(run)
        models = model_table(run, groups)
        write_table(run / "tables" / "planted_groups.csv", groups)
        write_table(run / "tables" / "planted_models.csv", models)
        texts.append(tables_text(run.name, groups, models))
    print("\n".join(texts))
    if options.page:
        write_page(options.page, "\n".join(texts))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
