"""What a model brought instead of being searched: its scores, its circuit, and what is not known because of it.

Tables: `given_scores` and `given_circuits`, where some model has them.
"""

from __future__ import annotations

import pandas as pd

from entity_mech.reporting.findings.finding import SAME_CIRCUIT, Finding
from entity_mech.reporting.study import Study
from entity_mech.reporting.tables import Tables, first

NO_STABILITY = "how often other scenes would give the same heads is not known"


def given_circuit_of(tables: Tables, model: str) -> pd.Series | None:
    """File, digest and number of heads of a model's given circuit; None where its circuit was found in the run."""
    table = tables.get("given_circuits")
    return None if table is None else first(table, model=model)


def given_finding(study: Study, tables: Tables, model: str) -> Finding | None:
    """That a model's scores or circuit were given, from which file, and what the run leaves out for it."""
    circuit, table = given_circuit_of(tables, model), tables.get("given_scores")
    scores = None if table is None else table[table["model"] == model]
    has_scores, name = scores is not None and not scores.empty, study.label(model)
    if circuit is None and not has_scores:
        return None
    said = []
    if circuit is not None:
        said.append(f"The circuit of {name} was given ({_file(circuit)}), not searched for or pruned in this run.")
    if has_scores and scores is not None:
        said.append(f"The path-patching scores of {name} were given ({_file(scores.iloc[0])}).")
        if circuit is None:
            said.append("Its candidates were chosen from them and pruned on this model.")
        said += _offset(scores)
    if circuit is None:
        said.append(f"Left out for it: stability, so {NO_STABILITY}.")
    elif has_scores:
        said.append(f"Left out for it: the significance of each head, and stability, so {NO_STABILITY}.")
    else:
        more = "the curve by size, and what overlap chance would give; the significance of each head, and stability"
        said.append(f"Left out for it: score maps, effects of heads, {more}, so {NO_STABILITY}.")
    source = "given_circuits" if circuit is not None else "given_scores"
    return Finding(SAME_CIRCUIT, model, "given", " ".join(said), source=source)


def _file(row: pd.Series) -> str:
    return f"{row['file']}, digest {row['digest']}"


def _offset(scores: pd.DataFrame) -> list[str]:
    """That maps were shifted, where they were."""
    shifted = scores[scores["offset"] != 0]
    if shifted.empty:
        return []
    pairs = zip(shifted["search"], shifted["offset"], strict=True)
    named = ", ".join(f"{search.replace('_', ' ')} {offset:+.4f}" for search, offset in pairs)
    return [
        f"Heads of the last layer, which no other head can hear, should score 0 but share another number in the maps "
        f"of {named}: it was taken off all scores of its map."
    ]
