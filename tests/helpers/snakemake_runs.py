"""Running Snakemake on this workflow."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SNAKEFILE = ROOT / "workflow" / "Snakefile"


def snakemake(*options: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run snakemake; its output and its messages stand together in `stdout`."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--nocolor", *options]
    return subprocess.run(
        command,
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def planned(*options: str, cwd: Path = ROOT) -> dict[str, int]:
    """Jobs of each rule that a dry run plans."""
    done = snakemake("--dry-run", *options, cwd=cwd)
    assert done.returncode == 0, done.stdout
    counts: dict[str, int] = {}
    for line in done.stdout.rpartition("Job stats:")[2].splitlines()[3:]:
        match = re.fullmatch(r"(\w+) +(\d+)", line)
        if match is None:
            break
        counts[match[1]] = int(match[2])
    return {rule: count for rule, count in counts.items() if rule not in ("total", "all")}
