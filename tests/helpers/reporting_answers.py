"""Answers prompt by prompt that fit synthetic tables: as many are right as the tables say, on the same prompts."""

import numpy as np
import pandas as pd

from entity_mech.config.schema import Config
from entity_mech.methods.dcm import ANSWERS as DCM_ANSWERS
from entity_mech.methods.dcm_transfer import ANSWER_COLUMNS as PATCHED_ANSWERS
from entity_mech.methods.faithfulness import ANSWER_COLUMNS as CIRCUIT_ANSWERS
from entity_mech.reporting.findings.finding import Finding
from entity_mech.reporting.findings.limits import Limits
from entity_mech.reporting.findings.page import find
from entity_mech.reporting.study import Study

LIMITS = Limits.of(Config().findings.model_dump())
PROMPTS, PAIRS = 490, 300


def right(share: float, n: int) -> np.ndarray:
    """1 for this share of n prompts, spread over their scenes; those of a smaller share are among them."""
    order = np.random.default_rng(11).permutation(n)
    found = np.zeros(n, dtype=int)
    found[order[: round(share * n)]] = 1
    return found


def prompts(boxes: int = 7) -> dict[str, np.ndarray]:
    """Scenes of queries."""
    at = np.arange(PROMPTS)
    return {"scene": at // boxes, "query_index": at % boxes}


def model_answers(behaviour: pd.DataFrame) -> pd.DataFrame:
    """tables/answers.csv for tables/behaviour.csv; its columns that the findings use."""
    rows = behaviour[behaviour["metric"] == "accuracy"]
    return pd.concat(
        [
            pd.DataFrame({"model": row["model"], **prompts(), "correct": right(row["value"], PROMPTS)})
            for _, row in rows.iterrows()
        ],
        ignore_index=True,
    )


def circuit_answers(faithfulness: pd.DataFrame) -> pd.DataFrame:
    """tables/circuit_answers.csv for tables/faithfulness.csv."""
    rows = faithfulness[faithfulness["kind"].isin(["circuit", "ceiling"])]
    found = []
    for _, row in rows.iterrows():
        about = {name: row[name] for name in ("model", "circuit", "kind")}
        shares = {"correct": row["accuracy"], "agrees": row["agreement"]}
        given = {name: right(share, PROMPTS) for name, share in shares.items()}
        found.append(pd.DataFrame({**about, **prompts(), **given}))
    return pd.concat(found, ignore_index=True)[CIRCUIT_ANSWERS]


def dcm_answers(dcm: pd.DataFrame) -> pd.DataFrame:
    """tables/dcm_answers.csv for tables/dcm.csv."""
    return _pairs(dcm, ["model", "circuit", "letter", "desideratum"])[DCM_ANSWERS]


def patched_answers(patched_heads: pd.DataFrame) -> pd.DataFrame:
    """tables/patched_answers.csv for tables/patched_heads.csv."""
    about = ["model", "circuit", "letter", "desideratum", "pairs"]
    return _pairs(patched_heads, about).assign(resample=0)[PATCHED_ANSWERS]


def _pairs(table: pd.DataFrame, about: list[str]) -> pd.DataFrame:
    at = np.arange(PAIRS)
    found = []
    for _, row in table.iterrows():
        given = {"correct": right(row["accuracy"], PAIRS), "none_correct": right(row["none_accuracy"], PAIRS)}
        found.append(pd.DataFrame({**row[about].to_dict(), "pair": at, "scene": at, **given}))
    return pd.concat(found, ignore_index=True)


def with_answers(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables, and the answers of those that have some."""
    made = {"behaviour": ("answers", model_answers), "faithfulness": ("circuit_answers", circuit_answers)}
    made |= {"dcm": ("dcm_answers", dcm_answers), "patched_heads": ("patched_answers", patched_answers)}
    return {**tables, **{name: make(tables[of]) for of, (name, make) in made.items() if of in tables}}


def found_in(study: Study, tables: dict[str, pd.DataFrame], limits: Limits = LIMITS) -> list[Finding]:
    """All findings of synthetic tables, with the answers that fit them where they have none of their own."""
    return find(study, with_answers(tables) | tables, limits)


def about(findings: list[Finding], question: str, model: str, what: str) -> Finding:
    """The one finding of a question about something."""
    (found,) = (f for f in findings if (f.question, f.model, f.about) == (question, model, what))
    return found
