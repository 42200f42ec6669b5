"""What each table that one stage writes and another reads must hold.

The seal of a table says that it is what was written; its schema says that what was written is a table of its kind.
Tables that people bring are held against the same schemas. Columns that a schema does not name are free: they may be
empty, and others may stand beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from entity_mech.seals import place_of

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame, Series


@dataclass(frozen=True)
class Schema:
    """Columns of a table, each a list of names in one text; all of them are there and have no empty field.

    key: no two rows agree in these, `model` included where the table has it. filled: may hold anything. whole: whole
    numbers, 0 or above. number: finite numbers. flag: True or False. grid: every combination of the key's values has
    a row, for each model. counted: the last column of the key counts 0, 1, 2, ... for each model. kinds: values of
    `kind` that must occur.
    """

    key: str
    filled: str = ""
    whole: str = ""
    number: str = ""
    flag: str = ""
    grid: bool = False
    counted: bool = False
    kinds: str = ""

    @property
    def columns(self) -> list[str]:
        """All columns that it names."""
        named = " ".join([self.key, self.filled, self.whole, self.number, self.flag, "kind" if self.kinds else ""])
        return list(dict.fromkeys(named.split()))


_PROMPTS = Schema("prompt", whole="prompt scene query_index correct predicted", number="probability", counted=True)
_MASKS = Schema("circuit group desideratum", "letter", "n_heads group_size n", "accuracy low high none_accuracy")
_PATCHED = Schema("circuit group desideratum pairs", "letter", "n_heads n", "accuracy low high none_accuracy")
_CIRCUIT_SIZE = Schema("k", whole="k heads n", number="share accuracy accuracy_low accuracy_high")

SCHEMAS = {
    "answers": _PROMPTS,
    "behaviour": Schema("metric", whole="n", number="value low high"),
    "path_patching": Schema(
        "search layer head", "letter token", whole="layer head", number="score", flag="exact receiver", grid=True
    ),
    "pruning_pairs": Schema(
        "group layer_1 head_1 layer_2 head_2",
        whole="layer_1 head_1 layer_2 head_2",
        number="accuracy_without_both",
    ),
    "pruning": Schema(
        "model",
        whole="candidates minimal put_back kept n least_prompts",
        number="accuracy_before threshold restore_below",
    ),
    "given_scores": Schema("search", "file digest", number="offset"),
    "given_circuits": Schema("file", "digest", "heads"),
    "significance": Schema("group layer head", whole="layer head", flag="kept undefined put_back"),
    "circuits": Schema("search layer head", "letter token", whole="layer head", flag="kept put_back"),
    "stability": Schema(
        "search layer head",
        "letter",
        whole="layer head n_resamples",
        number="candidate_frequency",
        flag="candidate kept",
    ),
    "wordings": Schema("wording", "template query", "candidates scored n", "accuracy"),
    "wording_heads": Schema("wording search layer head", "letter", "layer head", flag="kept"),
    "faithfulness": Schema(
        "circuit kind draw",
        whole="heads n",
        number="accuracy accuracy_low accuracy_high",
        kinds="model circuit ceiling",
    ),
    "circuit_answers": Schema("circuit kind scene query_index", whole="scene query_index correct agrees"),
    "completeness": Schema(
        "circuit kind draw group",
        whole="heads n",
        number="accuracy_circuit accuracy_model difference",
        kinds="nothing",
    ),
    "overlap": Schema("circuit_1 circuit_2 group", whole="heads_1 heads_2 shared"),
    "score_correlation": Schema("model_1 model_2 search", "letter", whole="heads"),
    "circuit_size": _CIRCUIT_SIZE,
    "circuit_size_summary": Schema("model", whole="n"),
    "role_map": Schema("kind tokens", whole="n", number="accuracy low high", kinds="intact needed"),
    "dcm": _MASKS,
    "dcm_curves": Schema("group desideratum epoch step", whole="epoch step", number="loss"),
    "dcm_heads": Schema("group desideratum layer head", whole="layer head", number="weight", flag="selected"),
    "dcm_answers": Schema("circuit letter desideratum pair", whole="pair scene correct none_correct"),
    "patched_heads": _PATCHED,
    "patched_resamples": Schema("circuit group desideratum pairs resample", whole="resample", number="accuracy"),
    "patched_answers": Schema(
        "circuit letter desideratum pairs resample pair", whole="resample pair scene correct none_correct"
    ),
    "probes": _PATCHED,
    "probe_masks": _MASKS,
    "cmap": Schema("donor target circuit part way kind draw", whole="n_heads n", number="accuracy low high"),
    "cmap_inputs": Schema("donor target circuit part input kind draw", whole="n_heads n", number="accuracy low high"),
    "knockout": Schema("source target layer", whole="layer n", number="accuracy low high"),
    "attention": Schema("circuit group layer head kind to", whole="layer head rank n", number="attention low high"),
    "attention_prompt": Schema(
        "circuit group layer head prompt position", whole="layer head rank position token_id", number="attention"
    ),
    "findings": Schema("", "question sentence"),
    "models": Schema("model", "label color", whole="heads"),
}  # fmt: skip

# Tables that are written a file at a time; below the folder of the run. The run's own are tables/{name}.csv.
FILES = {
    "models/*/behaviour/*.csv": "answers",
    "models/*/path_patching.csv": "path_patching",
    "models/*/pruning_pairs.csv": "pruning_pairs",
    "models/*/pruning_pairs/*.csv": "pruning_pairs",
    "models/*/pruning.csv": "pruning",
    "models/*/given_scores.csv": "given_scores",
    "models/*/given_circuit.csv": "given_circuits",
    "models/*/significance.csv": "significance",
    "models/*/stability.csv": "stability",
    "models/*/wordings.csv": "wordings",
    "models/*/wording_heads.csv": "wording_heads",
    "models/*/completeness.csv": "completeness",
    "models/*/circuit_size.csv": "circuit_size",
    "models/*/circuit_size_summary.csv": "circuit_size_summary",
    "models/*/role_map.csv": "role_map",
    "models/*/knockout.csv": "knockout",
    "models/*/attention.csv": "attention",
    "models/*/attention_prompt.csv": "attention_prompt",
    "faithfulness/*/*_answers.csv": "circuit_answers",
    "faithfulness/*/*.csv": "faithfulness",
    "dcm/*_curves.csv": "dcm_curves",
    "dcm/*_heads.csv": "dcm_heads",
    "dcm/*_answers.csv": "dcm_answers",
    "dcm/*.csv": "dcm",
    "patched_heads/*/*_resamples.csv": "patched_resamples",
    "patched_heads/*/*_answers.csv": "patched_answers",
    "patched_heads/*/*.csv": "patched_heads",
    "probes/*_masks.csv": "probe_masks",
    "probes/*.csv": "probes",
    "cmap/*.csv": "cmap",
    "cmap_inputs/*.csv": "cmap_inputs",
}


def schema_of(path: str | Path) -> Schema | None:
    """The schema of a table by its place in the results; None for tables that no stage reads (figures')."""
    parts = place_of(path).split("/")[1:]
    if len(parts) == 2 and parts[0] == "tables":
        return SCHEMAS.get(parts[1].removesuffix(".csv"))
    for pattern, name in FILES.items():
        wanted = pattern.split("/")
        if len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted)):
            return SCHEMAS[name]
    return None


def check_table(schema: Schema | None, table: DataFrame) -> str:
    """What is wrong with a table by its schema, in words; an empty text when nothing is."""
    if schema is None:
        return ""
    if missing := [name for name in schema.columns if name not in table]:
        return f"the columns {', '.join(missing)} are missing"
    key = list(dict.fromkeys([*(["model"] if "model" in table else []), *schema.key.split()]))
    if len(twice := table[table.duplicated(key)]) and schema.key:
        return f"two rows are about {_words(twice.iloc[0], key)}"
    for names, fits, what in _KINDS:
        for name in getattr(schema, names).split():
            wrong = table[~fits(table[name])]
            if len(wrong):
                return f"{name} should be {what} and is {wrong[name].tolist()[0]!r} in row {wrong.index[0] + 1}"
    for model, part in table.groupby("model") if "model" in table else [("", table)]:
        if problem := _missing_rows(schema, part):
            return f"{problem}{f' of {model!s}' if model else ''}"
    return ""


def _missing_rows(schema: Schema, table: DataFrame) -> str:
    key = schema.key.split()
    if schema.grid and len(table) != table[key].nunique().prod():
        return f"some combinations of {', '.join(key)} have no row"
    if schema.counted and table[key[-1]].tolist() != list(range(len(table))):
        return f"{key[-1]} does not count the rows 0, 1, 2, ..."
    lacks = [kind for kind in schema.kinds.split() if kind not in set(table["kind"])]
    return f"there is no row of kind {' or '.join(lacks)}" if lacks else ""


def _words(row: Series, key: list[str]) -> str:
    return ", ".join(f"{name} {row[name]!s}" for name in key)


def _whole(column: Series) -> Series:
    numbers = _numbers(column)
    return (numbers >= 0) & (numbers % 1 == 0)


def _number(column: Series) -> Series:
    return _numbers(column).abs() < float("inf")


def _numbers(column: Series) -> Series:
    import pandas as pd

    return pd.to_numeric(column, errors="coerce")


_KINDS = (
    ("filled", lambda column: column.notna(), "there"),
    ("whole", _whole, "a whole number from 0 up"),
    ("number", _number, "a number"),
    ("flag", lambda column: column.isin([True, False]), "True or False"),
)
