"""The published numbers (Prakash et al., ICLR 2024, arXiv 2402.14811), which stand beside ours.

They are data: `published/*.csv`, keyed by the paper's model names (llama-7b, vicuna-7b, goat-7b, float-7b), so a
model of a run is one of the paper's when it has that name. Accuracies are shares, not percents.
`llama-7b_circuit.json` is the published circuit of Llama, [layer, head] lists by group; `knockout.csv` counts the
first blocked layer from 0.

The published accuracies of the label desideratum are left out: its targets were encoded without their leading
space, so that no prediction could match them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

from entity_mech.files import read_plain_table

FOLDER = Path(__file__).parent / "published"
REFERENCE = "Prakash et al. 2024"


@cache
def _read(name: str) -> pd.DataFrame:
    return read_plain_table(FOLDER / f"{name}.csv")


def published(name: str) -> pd.DataFrame:
    """A table of published numbers: the name of a CSV in `published/`."""
    return _read(name).copy()


def published_accuracy() -> dict[str, float]:
    """Accuracy of each of the paper's models on 500 prompts."""
    return dict(published("behaviour")[["model", "accuracy"]].itertuples(index=False))


def published_circuit_accuracy() -> dict[tuple[str, str], tuple[float, float]]:
    """(circuit, model) -> accuracy of the circuit in the model, and its faithfulness."""
    whole = published_accuracy()
    table = published("circuits_on_models")
    own = table[table["kind"] == "circuit"]
    return {
        (circuit, model): (accuracy, accuracy / whole[model])
        for circuit, model, accuracy in own[["circuit", "model", "accuracy"]].itertuples(index=False)
    }


def beside(table: pd.DataFrame, name: str, keys: list[str], value: str = "accuracy") -> pd.DataFrame:
    """The table with a column `published`, matched on key columns; NaN where the paper has nothing."""
    found = published(name)[[*keys, value]].rename(columns={value: "published"})
    joined = table.merge(found, on=keys, how="left", validate="many_to_one")
    joined["published"] = joined["published"].astype(float)
    return joined
