"""results/index.html: the runs side by side.

It reads only what stands in each run's tables/models.csv. A run whose table cannot be read is left out, unless it is
the one that asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entity_mech.errors import UserError
from entity_mech.files import read_table, write_text
from entity_mech.progress import log
from entity_mech.reporting.findings.page import SHORT_QUESTIONS
from entity_mech.reporting.render import page


def runs_in(results: Path) -> list[Path]:
    """Folders of finished runs, in the order of their names."""
    return sorted(
        path.parent for path in results.glob("*/index.html") if (path.parent / "tables/models.csv").is_file()
    )


def write_runs(results: Path, own: str = "") -> None:
    """Write results/index.html: a block a run, with its models and its answers.

    own: the run that must be among them. Raises UserError when its table cannot be read.
    """
    runs = list(_models(results, own))
    text = page("runs.html.j2", title="Entity tracking: runs", runs=runs, questions=SHORT_QUESTIONS)
    write_text(results / "index.html", text)


def _models(results: Path, own: str) -> Iterator[dict[str, Any]]:
    for run in runs_in(results):
        try:
            models = read_table(run / "tables/models.csv", renamed=True)
        except UserError as error:
            if run.name == own:
                raise
            log(f"run {run.name} is left out of {results}/index.html: {error}")
            continue
        yield {"name": run.name, "models": models.to_dict("records")}
