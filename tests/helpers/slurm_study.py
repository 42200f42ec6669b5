"""A small study in a folder of its own, run by Snakemake through the project's SLURM profile."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from entity_mech.stages.table import OPTIONAL
from tests.helpers.slurm_cluster import Cluster, Job, wait_until
from tests.helpers.small_study import MODEL, ROOT, SNAKEFILE, config_text

PATIENCE = 240.0  # seconds for one job to come up or to end
# A fine-tuned model beside the base, whose pairs of heads two jobs share: fan-out over models and within one.
MORE = {
    "models": [
        {"name": "base", "path": str(MODEL)},
        {"name": "chat", "path": f"{MODEL.parent}/chat", "base": "base"},
    ],
    "pruning": {"shards": 2},
    "leave_out": list(OPTIONAL),
}
# From words to circuits, one circuit in the other model, a table and a figure.
WHOLE = ("behaviour", "results/small/faithfulness/chat/base.csv", "results/small/figures/circuits/base.png")
# What the test changes of the profile: how often SLURM is asked, and how long a file may take to show.
TESTS_OWN = (
    "--slurm-init-seconds-before-status-checks=1",
    "--seconds-between-status-checks=1",
    "--slurm-status-attempts=1",
    "--latency-wait=10",
)


@dataclass
class Run:
    """One start of Snakemake."""

    process: subprocess.Popen[bytes]
    log: Path
    cluster: Cluster

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    def end(self, seconds: float = PATIENCE) -> Run:
        """Wait for its end."""
        self.process.wait(seconds)
        return self

    def expect(self, code: int = 0, seconds: float = PATIENCE) -> Run:
        """Wait for its end; AssertionError with its messages when it ends otherwise."""
        assert self.end(seconds).process.returncode == code, self.text
        return self

    def jobs(self, rule: str | None = None) -> list[Job]:
        """Its jobs as SLURM remembers them, all or those of a rule."""
        found = re.search(r"SLURM run ID: (\S+)", self.text)
        own = [job for job in self.cluster.jobs() if found and job.name == found[1]]
        return own if rule is None else [job for job in own if job.rule == rule]

    def planned(self) -> Counter[str]:
        """Jobs of each rule that it said it would run."""
        table = self.text.partition("Job stats:")[2].splitlines()[3:]
        rows = [re.fullmatch(r"(\w+) +(\d+)", line) for line in table[: table.index("")]]
        return Counter({row[1]: int(row[2]) for row in rows if row and row[1] != "total"})

    def running(self, rule: str) -> Job:
        """Wait until SLURM runs a job of the rule."""

        def found() -> list[Job]:
            return [job for job in self.jobs(rule) if job.state == "RUNNING"]

        wait_until(lambda: self.process.poll() is not None or found(), PATIENCE, f"a job of {rule} runs")
        assert found(), self.text
        return found()[0]


@dataclass
class Study:
    """The folder, and what was started in it."""

    folder: Path
    cluster: Cluster
    runs: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = yaml.safe_load(config_text()) | MORE
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))
        # `device: auto` asks for a card where the machine has a driver for one, which this file stands for.
        driver = self.folder / "bin" / "nvidia-smi"
        driver.parent.mkdir()
        driver.write_text("#!/bin/sh\n")
        driver.chmod(0o755)

    def start(self, *options: str, profile: bool = True) -> Run:
        """Start Snakemake on the study and return at once."""
        log = self.folder / f"run{len(self.runs)}.log"
        command = [sys.executable, "-m", "snakemake", "--snakefile", SNAKEFILE, "--nocolor"]
        command += ["--configfile", "config.yaml", "--workflow-profile"]
        command += [ROOT / "workflow/profiles/slurm", *TESTS_OWN] if profile else ["none"]
        environment = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*command, *options],
                cwd=self.folder,
                env=environment,
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.runs.append(Run(process, log, self.cluster))
        return self.runs[-1]

    def path(self, name: str) -> Path:
        """A file of the run's results."""
        return self.folder / "results/small" / name

    def forget(self, name: str) -> tuple[str, bytes]:
        """Delete a result; returns Snakemake's name for it, and its bytes."""
        path = self.path(name)
        content = path.read_bytes()
        path.unlink()
        return f"results/small/{name}", content

    def script(self, rule: str) -> int:
        """Wait for the process of a rule's script on the node; its id."""

        def found() -> list[int]:
            return processes_with(str(self.folder / ".snakemake/scripts"), f".{rule}.py")

        wait_until(found, PATIENCE, f"the script of {rule} runs")
        return found()[0]

    def stop(self) -> None:
        """End what is still running: Snakemake, the queue, and what a cancelled job left (SLURM may lose orphans)."""
        for run in self.runs:
            if run.process.poll() is None:
                os.killpg(run.process.pid, signal.SIGKILL)
                run.process.wait(10)
        self.cluster.drain()
        for process in processes_with(str(self.folder)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def processes_with(*words: str) -> list[int]:
    """Ids of processes with all these words in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if all(word in line for word in words):
            found.append(int(entry.name))
    return found
