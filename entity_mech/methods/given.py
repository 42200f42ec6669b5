"""Scores and circuits that are given with a model, as the searches and pruning would have left them.

A given table of scores stands in for path patching (method, section 4), a given circuit for the choice of candidates
and for pruning (method, section 5). docs/published.md says what their files hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from entity_mech.errors import UserError
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.head_scores import ranking
from entity_mech.methods.searches import PathSearch
from entity_mech.models.given_circuits import GivenGroup, circuit_problems, read_given_circuit
from entity_mech.models.given_heads import ChainGroup, GivenHead, Size
from entity_mech.models.given_scores import read_score_rows, score_problems

NUMBERS = ("median", "share_down", "logit_change", "null_score")  # taken over where the given table has them
SCORES_COLUMNS = ["file", "digest", "search", "offset"]
CIRCUIT_COLUMNS = ["file", "digest", "heads"]


def chain_groups(searches: Sequence[PathSearch]) -> list[ChainGroup]:
    """What a given file can be held to of a chain."""
    return [ChainGroup(search.name, search.letter, search.token) for search in searches]


def given_scores(
    path: str | Path, searches: Sequence[PathSearch], size: Size
) -> tuple[pd.DataFrame, dict[str, float]]:
    """A given table of scores as `head_scores.score_table` would have written it, and the offset of each search.

    Scores come without their offset (`without_offset`); receivers are chosen by the config's numbers. What the table
    does not say is NaN. Raises UserError when it does not fit the chain or a model of this size.
    """
    try:
        rows = read_score_rows(path)
        wrong = score_problems(rows, chain_groups(searches), size)
    except UserError as error:
        wrong = [str(error)]
    if wrong:
        raise UserError(f"{path}: {'; '.join(wrong)}")
    table = pd.DataFrame(rows).astype({"layer": int, "head": int, "score": float})
    tables, offsets = [], {}
    for search in searches:
        own = table[table["search"] == search.name].sort_values(["layer", "head"]).reset_index(drop=True)
        own, offsets[search.name] = without_offset(own) if search.receivers else (own, 0.0)
        tables.append(_as_scored(own, search))
    return pd.concat(tables, ignore_index=True), offsets


def without_offset(scores: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Scores of one search that patches into heads without the number that was added to them all, and that number.

    No head of the last layer can reach another head, so there each scores exactly 0 (method, section 4.1). Where they
    all share another number instead, the whole map is shifted by it: something but the sender differed between the
    patched and the clean run (method, section 4.4).
    """
    last = scores.loc[scores["layer"] == scores["layer"].max(), "score"].unique()
    offset = float(last[0]) if len(last) == 1 else 0.0
    return scores.assign(score=scores["score"] - offset), offset


def _as_scored(own: pd.DataFrame, search: PathSearch) -> pd.DataFrame:
    """One search's rows with the columns of `head_scores.score_table`, but `candidate`."""
    numbers = {name: pd.to_numeric(own[name], errors="coerce") if name in own else np.nan for name in NUMBERS}
    exact = own["exact"].str.lower() != "false" if "exact" in own else True
    prompts = pd.to_numeric(own["n"], errors="coerce") if "n" in own else np.nan
    receivers = own.index.isin(ranking(own)[: search.receiver_heads])
    about = {"search": search.name, "letter": search.letter, "token": search.token}
    main = {**about, "layer": own["layer"], "head": own["head"], "score": own["score"]}
    return pd.DataFrame({**main, **numbers, "exact": exact, "receiver": receivers, "n": prompts})


def given_circuit(
    path: str | Path, model: str, chain: Sequence[ChainGroup], size: Size, scores: pd.DataFrame | None = None
) -> tuple[Circuit, float | None]:
    """A given circuit of a model, and the threshold that its file says it was pruned by.

    scores: the model's table of scores. With it, heads have its scores and stand strongest first; without, they have
    those of the circuit's file and stand as there. Raises UserError when the circuit does not fit the chain or a
    model of this size.
    """
    try:
        given = read_given_circuit(path)
        wrong = circuit_problems(given, chain, size)
    except UserError as error:
        wrong = [str(error)]
    if wrong:
        raise UserError(f"{path}: {'; '.join(wrong)}")
    known: dict[tuple[str, int, int], float] = {}
    if scores is not None:
        places = zip(scores["search"], scores["layer"], scores["head"], strict=True)
        known = dict(zip(places, scores["score"], strict=True))
    groups = {group.name: group for group in given.groups}
    return Circuit(model, tuple(_group(groups[one.name], one, known) for one in chain)), given.threshold


def _group(given: GivenGroup, here: ChainGroup, known: dict[tuple[str, int, int], float]) -> HeadGroup:
    def scored(heads: Sequence[GivenHead]) -> list[tuple[int, int, float]]:
        listed = [(one.layer, one.head, known.get(one.place, one.score)) for one in heads]
        found = [(layer, head, np.nan if score is None else score) for layer, head, score in listed]
        return sorted(found, key=lambda one: (one[2], one[0], one[1])) if known else found

    heads = scored(given.heads)
    scores = tuple(score for *_, score in heads)
    return HeadGroup(
        name=here.name,
        letter=here.letter,
        token=here.token,
        heads=tuple((layer, head) for layer, head, _ in heads),
        scores=scores,
        candidates=tuple(scored(given.candidates or given.heads)),
    )
