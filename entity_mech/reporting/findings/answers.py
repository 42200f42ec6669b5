"""Answers prompt by prompt, put side by side: what two runs say to the same prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

PROMPT = ("scene", "query_index")


def side_by_side(
    columns: Mapping[str, tuple[pd.DataFrame, str]], keys: Sequence[str] = PROMPT
) -> dict[str, np.ndarray] | None:
    """Columns of tables on the same prompts, in one order, with `scene`; None where the prompts are not the same.

    columns: name -> (rows, their column of right answers). keys: what tells prompts (or pairs of them) apart.
    """
    found = [rows.set_index(list(keys))[column] for rows, column in columns.values()]
    sizes = {len(one) for one in found}
    if len(sizes) != 1 or sizes == {0} or any(one.index.has_duplicates for one in found):
        return None
    joined = pd.concat(found, axis=1, keys=list(columns), join="inner").reset_index()
    if {len(joined)} != sizes:
        return None
    return {"scene": joined["scene"].to_numpy(), **{name: joined[name].to_numpy(dtype=float) for name in columns}}
