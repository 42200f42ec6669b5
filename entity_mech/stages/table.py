"""The stages of a study, in its order. Everything that needs to know them reads this table.

The workflow takes its targets, merged tables, figures and resources from it; the config what may be left out; the
findings their tables; README.md and docs/clusters.md their lists of stages and of resources. How to add one:
docs/architecture.md.
"""

from __future__ import annotations

from entity_mech.stages.circuit import CIRCUIT
from entity_mech.stages.groups import GROUPS
from entity_mech.stages.preparation import PREPARATION
from entity_mech.stages.stage import Job, Stage

PAGES = (
    Stage(
        "findings",
        "What was found? Findings in words, the run's page, and what belongs to all stages",
        jobs={
            "write_config": Job("here", 500, 2),
            "merge_tables": Job("tables", 1000, 2),
            "draw": Job("tables", 1500, 4),
            "write_findings": Job("tables", 1500, 3),
            "write_index": Job("tables", 1500, 3),
        },
    ),
)
STAGES = (*PREPARATION, *CIRCUIT, *GROUPS, *PAGES)
OPTIONAL = tuple(stage.name for stage in STAGES if stage.optional)
FIGURES = tuple(figure for stage in STAGES for figure in stage.figures)
JOBS = {rule: job for stage in STAGES for rule, job in stage.jobs.items()}
