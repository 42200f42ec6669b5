"""results/index.html: the runs side by side.

It reads only what stands in each run's tables/models.csv.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import pandas as pd

from entity_mech.files import read_table, write_text
from entity_mech.reporting import markup
from entity_mech.reporting.findings import SHORT_QUESTIONS


def runs_in(results: Path) -> list[Path]:
    """Folders of finished runs, in the order of their names."""
    return sorted(
        path.parent for path in results.glob("*/index.html") if (path.parent / "tables/models.csv").is_file()
    )


def write_runs(results: Path) -> None:
    """Write results/index.html: a block a run, with its models and its answers."""
    runs = runs_in(results)
    blocks = "\n".join(_run(run) for run in runs)
    count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}."
    body = f"<h1>Entity tracking: runs</h1>\n{markup.tag('p', count, class_='meta')}\n{blocks}"
    write_text(results / "index.html", markup.page("Entity tracking: runs", body))


def _run(run: Path) -> str:
    models = read_table(run / "tables/models.csv")
    head = ["", "accuracy", "heads", "its faithfulness", *SHORT_QUESTIONS.values()]
    rows = [
        [
            markup.tag("span", markup.swatch(str(row["color"])) + escape(str(row["label"])), class_="keep"),
            markup.ranged(row["accuracy"], row["accuracy_low"], row["accuracy_high"]),
            str(row["heads"]),
            markup.ranged(row["faithfulness"], row["faithfulness_low"], row["faithfulness_high"]),
            *("" if pd.isna(row[name]) else escape(str(row[name])) for name in SHORT_QUESTIONS),
        ]
        for _, row in models.iterrows()
    ]
    title = markup.tag("h2", markup.link(f"{run.name}/index.html", run.name))
    return f"{title}\n{markup.table(head, rows)}"
