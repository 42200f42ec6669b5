"""Where the report of a run goes, from the command line of Snakemake: the profiles ask.

Snakemake 9 makes a report after a run when its command line says where, also after a dry run and after a part of the
workflow, for which it has no files or not all of them. So only a run of the whole study gets one.
"""

from __future__ import annotations

import argparse

from entity_mech.command_line import run_of

# Options that make Snakemake do something else than run the whole study.
_NOT_A_RUN = ("dryrun", "touch", "targets", "until", "omit_from", "batch", "report", "lint", "unlock", "summary")


def report_file(asked: argparse.Namespace) -> str | None:
    """results/{run}/report.html, or None when Snakemake was not asked to run the whole study.

    asked: Snakemake's command line, without the profile.
    """
    if any(getattr(asked, option, None) for option in _NOT_A_RUN):
        return None
    return f"results/{run_of(asked)}/report.html"
