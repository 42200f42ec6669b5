"""What others read off the table of stages: kinds of rules, and the lists in the documents."""

from __future__ import annotations

from entity_mech.stages.stage import Job
from entity_mech.stages.table import FIGURES, JOBS, STAGES

# Sizes of weights for which the resources are worked out, GB.
_SIZES = {"135M (0.3 GB)": 0.3, "7B (13.5 GB)": 13.5, "70B (140 GB)": 140.0}


def stage_list() -> str:
    """Stages that have tables: what each asks, and whether it can be left out."""
    rows = ["| stage (a target for Snakemake) | question | |", "|---|---|---|"]
    for stage in STAGES:
        if stage.tables:
            rows.append(f"| `{stage.name}` | {stage.asks} | {'optional' if stage.optional else ''} |")
    return "\n".join(rows)


def resource_table() -> str:
    """Memory and time of every rule that runs a model; rules that ask for the same stand in one row."""
    rules: dict[Job, list[str]] = {}
    for rule, job in JOBS.items():
        if job.kind == "model":
            rules.setdefault(job, []).append(f"`{rule}`")
    head = ["rule", "memory", "time, minutes", *_SIZES]
    rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for job, names in rules.items():
        asks = [
            f"{job.megabytes / 1000:g} GB + {job.copies} W",
            f"{job.minutes} + {job.minutes_per_gb} W",
            *(_for_weights(job, size) for size in _SIZES.values()),
        ]
        rows.append("| " + " | ".join([", ".join(names), *asks]) + " |")
    return "\n".join(rows)


def _for_weights(job: Job, gigabytes: float) -> str:
    memory = job.megabytes / 1000 + job.copies * gigabytes
    minutes = job.minutes + job.minutes_per_gb * gigabytes
    time = f"{minutes:.0f} min" if minutes < 60 else f"{minutes / 60:.2g} h"
    return f"{memory:.0f} GB, {time}"


def rules_by_kind() -> dict[str, list[str]]:
    """Names of rules by the kind of their jobs, for the cluster's profile: every figure has a rule of its own."""
    found: dict[str, list[str]] = {"model": [], "dataset": [], "tables": [], "between": [], "here": []}
    for rule, job in JOBS.items():
        found[job.kind] += [f"draw_{figure.name}" for figure in FIGURES] if rule == "draw" else [rule]
    return found
