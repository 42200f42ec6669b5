"""The published numbers (Prakash et al., ICLR 2024, arXiv 2402.14811), which stand beside ours.

They are data: `published/*.csv`, keyed by the paper's model names (llama-7b, vicuna-7b, goat-7b, float-7b). A model
of a run is one of the paper's when it has that name, and its numbers are comparable where the prompts are the
paper's: its sentences, seven boxes. In a run of other prompts there are no published numbers. Accuracies are shares,
not percents; `knockout.csv` counts the first blocked layer from 0. The paper's scores and circuits, for studies to
start from, are in the project's folder `published` (docs/published.md).

The published accuracies of the label desideratum are left out: its targets were encoded without their leading
space, so that no prediction could match them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

from entity_mech.files import read_plain_table
from entity_mech.reporting.study import Study
from entity_mech.task.task import Task

FOLDER = Path(__file__).parent / "published"
REFERENCE = "Prakash et al. 2024"
PAPER = Task()  # the default prompts are the paper's
PROMPTS = ("boxes", "template", "query", "separator", "end", "capitalize")


@cache
def _read(name: str) -> pd.DataFrame:
    return read_plain_table(FOLDER / f"{name}.csv")


def has_paper_prompts(study: Study) -> bool:
    """Whether a study asks what the paper asked, so that its models' numbers can be held against the paper's."""
    return all(getattr(study.task, name) == getattr(PAPER, name) for name in PROMPTS)


def no_comparison(study: Study) -> str:
    """Why no published value stands beside models of the paper's names; empty where they can be compared."""
    named = [model for model in study.models if model in set(_read("behaviour")["model"])]
    if has_paper_prompts(study) or not named:
        return ""
    return f"Published values of {', '.join(named)} are of the paper's prompts, which this run's are not: left out."


def published(study: Study, name: str) -> pd.DataFrame:
    """A table of published numbers, without rows where the study's prompts are not the paper's.

    name: of a CSV in `published/`.
    """
    return _read(name).copy() if has_paper_prompts(study) else _read(name).iloc[:0].copy()


def published_accuracy(study: Study) -> dict[str, float]:
    """Accuracy of each of the paper's models on 500 prompts."""
    return dict(published(study, "behaviour")[["model", "accuracy"]].itertuples(index=False))


def published_circuit_accuracy(study: Study) -> dict[tuple[str, str], tuple[float, float]]:
    """(circuit, model) -> accuracy of the circuit in the model, and its faithfulness."""
    whole = published_accuracy(study)
    table = published(study, "circuits_on_models")
    own = table[table["kind"] == "circuit"]
    return {
        (circuit, model): (accuracy, accuracy / whole[model])
        for circuit, model, accuracy in own[["circuit", "model", "accuracy"]].itertuples(index=False)
    }


def beside(study: Study, table: pd.DataFrame, name: str, keys: list[str], value: str = "accuracy") -> pd.DataFrame:
    """The table with a column `published`, matched on key columns; NaN where the paper has nothing comparable."""
    found = published(study, name)[[*keys, value]].rename(columns={value: "published"})
    joined = table.merge(found, on=keys, how="left", validate="many_to_one")
    joined["published"] = joined["published"].astype(float)
    return joined
