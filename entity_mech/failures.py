"""Which jobs of a run failed, and why: the end of what Snakemake says. Read from its log and from the jobs' logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

# A job alone, and a job of a group, which says so inside the group's block.
_FAILED = re.compile(
    r"^(?:Error in rule (?P<rule>\w+):\n|        rule (?P<inner>\w+):\n)"
    r"(?: +message: .*\n)? +jobid: (?P<job>\S+)\n"
    r"(?P<rest>(?: {4,}(?!rule \w+:\n)\S.*\n)*)",
    re.MULTILINE,
)
_LOG = re.compile(r"^\s+log: (\S+)", re.MULTILINE)
_DONE = re.compile(r"^Finished jobid: (\S+)", re.MULTILINE)
TROUBLE = ("error:", "Traceback (most recent call last)")


def summary(text: str, lines: int = 8) -> str:
    """Rule, model, log and the log's last lines of each job that failed and did not succeed when it was retried.

    text: Snakemake's own log. An empty text when no job failed (a wrong config, a locked folder).
    """
    parts = [f"{title}\n" + "".join(f"    | {line}\n" for line in _tail(log, lines)) for title, log in _failed(text)]
    if not parts:
        return ""
    return f"\n{len(parts)} of the jobs failed:\n" + "\n".join(parts)


def _failed(text: str) -> Iterator[tuple[str, Path | None]]:
    done = set(_DONE.findall(text))
    told = set()
    for match in _FAILED.finditer(text):
        rule, job = match["rule"] or match["inner"], match["job"]
        found = _LOG.search(match["rest"])
        log = Path(found[1]) if found else None
        if job in done or (rule, job) in told or (match["inner"] and not _in_trouble(log)):
            continue
        told.add((rule, job))
        of_what = f" {log.stem}" if log is not None and log.parent.name == rule else ""
        where = f", log {log}" if log is not None else ""
        yield f"  {rule}{of_what}{where}", log


def _in_trouble(log: Path | None) -> bool:
    return log is not None and any(word in line for line in _tail(log, 60) for word in TROUBLE)


def _tail(log: Path | None, lines: int) -> list[str]:
    if log is None or not log.is_file():
        return ["(it wrote no log: it did not start, or was stopped before)"]
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
