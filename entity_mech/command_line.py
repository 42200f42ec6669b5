"""What a command line of Snakemake asks of this workflow. The profiles look at it before Snakemake does anything.

Snakemake itself answers a wrong config file or option with a traceback, and `--cores 0` with silence.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from entity_mech.config.files import read_assignments, read_config, run_name
from entity_mech.config.generate import DEFAULT
from entity_mech.config.messages import nearest
from entity_mech.errors import UserError
from entity_mech.stages.table import FIGURES, JOBS, STAGES

_COUNTS = {"cores": "cores", "jobs": "jobs", "local_cores": "local-cores", "max_threads": "max-threads"}
_RULE = re.compile(r"^\s*rule\s+(\w+)\s*:", re.MULTILINE)


def checked(asked: argparse.Namespace, snakefile: Path | None = None) -> argparse.Namespace:
    """The command line as it was, where it can be followed; else say why not and end the program.

    asked: Snakemake's, without the profile. snakefile: of the workflow, whose rules are targets too.
    """
    try:
        config_of(asked)
        _check_counts(asked)
        _check_targets(asked, snakefile)
    except UserError as error:
        _end(str(error))
    return asked


def _end(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def config_of(asked: argparse.Namespace) -> dict[str, Any]:
    """The keys that a command line's config files and `--config` give, not checked.

    Raises UserError for a file that cannot be read, and for a target that stands where a file should.
    """
    config: dict[str, Any] = {}
    files, assignments = getattr(asked, "configfile", None), getattr(asked, "config", None) or []
    for option, words in (("configfile", files or []), ("config", assignments)):
        for word in words:
            if str(word) in target_names() and not Path(word).exists():
                raise UserError(
                    f"{str(word)!r} stands behind --{option}, which takes all words that follow. A stage comes "
                    f"first: snakemake {word} --{option} ..."
                )
    for path in files or [Path(getattr(asked, "directory", None) or "") / DEFAULT]:
        config |= read_config(path)
    return config | read_assignments(assignments)


def run_of(asked: argparse.Namespace) -> str:
    """The name of the run that a command line is about. Raises UserError as `config_of` does."""
    return run_name(config_of(asked))


def target_names(snakefile: Path | None = None) -> set[str]:
    """Stages and rules that can be asked for by name."""
    names = {stage.name for stage in STAGES} | set(JOBS) | {f"draw_{figure.name}" for figure in FIGURES}
    names |= {"all", "tables", "figures", "dataset"}
    if snakefile is not None and snakefile.is_file():
        files = [snakefile, *snakefile.parent.glob("rules/*.smk")]
        names |= {name for file in files for name in _RULE.findall(file.read_text(encoding="utf-8"))}
    return names


def _check_counts(asked: argparse.Namespace) -> None:
    for name, option in _COUNTS.items():
        value = getattr(asked, name, None)
        if isinstance(value, int) and value < 1:
            raise UserError(f"--{option} {value}: nothing can run on less than 1; allowed: 1 or more")


def _check_targets(asked: argparse.Namespace, snakefile: Path | None) -> None:
    """A target is a file's path or the name of a stage or rule."""
    known = target_names(snakefile)
    for target in getattr(asked, "targets", None) or []:
        if target not in known and not set(target) & set("/.") and not Path(target).exists():
            stages = ", ".join(stage.name for stage in STAGES)
            raise UserError(
                f"there is no stage or rule {target!r}.{nearest(target, known)} Stages: {stages}. A file is named by "
                "its whole path: results/tiny/findings.md"
            )
