"""results/index.html: the runs side by side.

It reads only what stands in each run's tables/models.csv.
"""

from __future__ import annotations

from pathlib import Path

from entity_mech.files import read_table, write_text
from entity_mech.reporting.findings.page import SHORT_QUESTIONS
from entity_mech.reporting.render import page


def runs_in(results: Path) -> list[Path]:
    """Folders of finished runs, in the order of their names."""
    return sorted(
        path.parent for path in results.glob("*/index.html") if (path.parent / "tables/models.csv").is_file()
    )


def write_runs(results: Path) -> None:
    """Write results/index.html: a block a run, with its models and its answers."""
    runs = [
        {"name": run.name, "models": read_table(run / "tables/models.csv").to_dict("records")}
        for run in runs_in(results)
    ]
    text = page("runs.html.j2", title="Entity tracking: runs", runs=runs, questions=SHORT_QUESTIONS)
    write_text(results / "index.html", text)
