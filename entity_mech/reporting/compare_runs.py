"""Whether two runs have the same numbers: every table of one held against the other's.

    python -m entity_mech.reporting.compare_runs results/old results/new

Prints a line for each table: rows, the largest difference of a number, columns whose text differs, columns that only
one run has. The exit status is 1 where a table, a row or a column of the first run is missing or a number differs by
more than the tolerance.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from entity_mech.files import read_table


class Difference(NamedTuple):
    """How a table differs: largest difference of a number (NaN against a number is infinite), and columns."""

    largest: float
    text: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


def table_difference(old: pd.DataFrame, new: pd.DataFrame) -> Difference:
    """Two tables, row by row in their order; another number of rows is an infinite difference."""
    lost = tuple(str(column) for column in old if column not in new)
    added = tuple(str(column) for column in new if column not in old)
    if len(old) != len(new):
        return Difference(np.inf, (), lost, added)
    largest, text = 0.0, []
    for column in (column for column in old if column in new):
        a, b = old[column], new[column]
        if pd.api.types.is_numeric_dtype(a) and pd.api.types.is_numeric_dtype(b):
            x, y = a.to_numpy(float), b.to_numpy(float)
            known = ~np.isnan(x)
            if (known != ~np.isnan(y)).any():
                largest = np.inf
            elif known.any():
                largest = max(largest, float(np.abs(x[known] - y[known]).max()))
        elif a.fillna("").astype(str).tolist() != b.fillna("").astype(str).tolist():
            text.append(str(column))
    return Difference(largest, tuple(text), lost, added)


def compare_runs(old: Path, new: Path) -> dict[str, Difference | None]:
    """Every table of the old run by name; None where the new run has none of that name."""
    found: dict[str, Difference | None] = {}
    for path in sorted((old / "tables").glob("*.csv")):
        other = new / "tables" / path.name
        found[path.stem] = None
        if other.is_file():
            found[path.stem] = table_difference(read_table(path, renamed=True), read_table(other, renamed=True))
    return found


def main(arguments: list[str]) -> int:
    """Print the comparison; the exit status."""
    parser = argparse.ArgumentParser(description="Compare the tables of two runs.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.0, help="differences up to this are none")
    given = parser.parse_args(arguments)
    found, same = compare_runs(given.old, given.new), True
    if not found:
        parser.error(f"{given.old} has no tables")
    for name, difference in found.items():
        if difference is None:
            same = False
            print(f"{name:24} missing")
            continue
        words = [f"largest difference {difference.largest:.2g}"]
        for what in ("text", "lost", "new"):
            if columns := getattr(difference, what):
                words.append(f"{what}: {', '.join(columns)}")
        print(f"{name:24} {'; '.join(words)}")
        same = same and difference.largest <= given.tolerance and not difference.lost
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
