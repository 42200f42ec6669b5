"""What of a run is done, what would run, and about how long it takes.

    python workflow/status.py [options of snakemake, for example --configfile config/mine.yaml]

Times are those of earlier jobs of the same rule, from the benchmark files of this run, or of other runs where it has
none.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Iterator
from os import cpu_count
from pathlib import Path
from statistics import mean

from entity_mech.command_line import run_of
from entity_mech.progress import duration

ROW = re.compile(r"^(\w+) +(\d+)$")
NOT_JOBS = ("total", "all")


def job_counts(options: list[str]) -> dict[str, int]:
    """Jobs of each rule in a dry run, in the workflow's order. Ends the program when it fails."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}")
    lines = done.stdout.splitlines()
    start = max((number for number, line in enumerate(lines) if line.startswith("Job stats:")), default=len(lines))
    counts = {}
    for line in lines[start + 3 :]:
        match = ROW.match(line)
        if match is None:
            break
        counts[match[1]] = int(match[2])
    return {rule: count for rule, count in counts.items() if rule not in NOT_JOBS}


def seconds(rule: str, run: Path) -> float | None:
    """Mean seconds of a rule's jobs: of this run, else of the others under results/; None without any."""
    for folder in (run, *(other for other in sorted(run.parent.glob("*")) if other != run)):
        found = [time for path in _benchmarks(folder / "benchmarks", rule) for time in _times(path)]
        if found:
            return mean(found)
    return None


def _benchmarks(folder: Path, rule: str) -> Iterator[Path]:
    yield from folder.glob(f"{rule}.tsv")
    yield from folder.glob(f"{rule}/*.tsv")


def _times(path: Path) -> list[float]:
    with path.open(newline="", encoding="utf-8") as file:
        return [float(row["s"]) for row in csv.DictReader(file, delimiter="\t")]


def main(options: list[str]) -> None:
    """Print the table."""
    whole, left = job_counts([*options, "--forceall"]), job_counts(options)
    run = run_folder(options)
    print(f"{run}\n\n{'stage':<24}{'done':>6}{'to do':>7}{'one takes':>12}{'all take':>12}")
    total, unknown = 0.0, []
    for rule, count in whole.items():
        todo = left.get(rule, 0)
        one = seconds(rule, run)
        if todo and one is None:
            unknown.append(rule)
        time = todo * (one or 0.0)
        total += time
        words = ("" if one is None else duration(one), duration(time) if time else "")
        print(f"{rule:<24}{count - todo:>6}{todo:>7}{words[0]:>12}{words[1]:>12}")
    cores = cpu_count() or 1
    todo = sum(left.values())
    estimate = f", about {duration(total / cores)} on {cores} cores" if total else ""
    print(f"\n{sum(whole.values()) - todo} jobs done, {todo} to do{estimate}")
    if unknown:
        print(f"no earlier job tells the time of: {', '.join(unknown)}")


def run_folder(options: list[str]) -> Path:
    """results/{run} of a command line of Snakemake."""
    from snakemake.cli import get_argument_parser

    asked, _ = get_argument_parser().parse_known_args(options)
    return Path("results") / run_of(asked)


if __name__ == "__main__":
    main(sys.argv[1:])
