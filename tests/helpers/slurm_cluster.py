"""A real SLURM on this machine: munge, slurmctld and slurmd on loopback, with two graphics cards that are not there.

It needs root and Debian's packages, and writes /etc/slurm: SLURM's own commands look there only once Snakemake has
cleaned a job's environment. So it refuses a machine on which SLURM is set up already. Daemons are stopped by the ids
in their PID files, never by name.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SETTINGS = Path("/etc/slurm")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
PACKAGES = "munge slurmctld slurmd slurm-client"
MARK = "# entity_mech: written by tests/slurm, taken away by it\n"

SLURM_CONF = """
ClusterName=ci
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2
ReturnToService=2
MinJobAge=3600
KillWait=2
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:2
PartitionName=cpu Nodes=ALL Default=YES MaxTime=60
PartitionName=gpu Nodes=ALL MaxTime=60
"""


def missing() -> str | None:
    """Why a cluster cannot be started here; None when it can."""
    if os.geteuid() != 0:
        return "a SLURM cluster for tests needs root (slurmd starts jobs)"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        return f"{', '.join(lacking)} not found: apt-get install --no-install-recommends {PACKAGES}"
    found = SETTINGS / "slurm.conf"
    if found.exists() and not found.read_text().startswith(MARK):
        return f"{found} is there: this machine has a SLURM of its own, which the test leaves alone"
    return None


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Return when the condition holds; AssertionError when it does not in time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


def output_of(*command: str) -> str:
    """What a command prints; an empty text when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout if done.returncode == 0 else ""


def call(*command: str) -> None:
    """Run a command; RuntimeError with its messages when it fails. A daemon that it leaves keeps no pipe of ours."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


@dataclass(frozen=True)
class Job:
    """A job as SLURM remembers it. what: Snakemake's comment, `rule_prepare_model_wildcards_base` for example."""

    id: int
    name: str
    what: str
    state: str
    partition: str
    gpus: int
    memory_mb: int
    minutes: int

    @property
    def rule(self) -> str:
        """The rule, or for a group of jobs the group's name."""
        kind, _, rest = self.what.partition("_")
        return rest.split("_wildcards")[0] if kind == "rule" else self.what


class Cluster:
    """Daemons of a cluster of one node, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self) -> None:
        """Write the settings, start the three daemons and wait for an idle node."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        values = {"folder": self.folder, "host": socket.gethostname(), "cpus": os.cpu_count()}
        SETTINGS.mkdir(exist_ok=True)
        (SETTINGS / "slurm.conf").write_text(MARK + SLURM_CONF.format(**values, memory=int(pages / 2**20 * 0.95)))
        (SETTINGS / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        (SETTINGS / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self._start_munge()
        call("slurmctld")
        call("slurmd")
        wait_until(self._idle, 30, "an idle node")

    def _start_munge(self) -> None:
        if output_of("munge", "-n"):
            return  # the machine's own is up
        run = Path("/run/munge")
        run.mkdir(exist_ok=True)
        shutil.chown(run, "munge", "munge")
        if not Path("/etc/munge/munge.key").exists():
            call("mungekey", "--create")
        as_munge = ("setpriv", "--reuid=munge", "--regid=munge", "--init-groups")
        call(*as_munge, "munged", "--pid-file=/run/munge/entity-mech.pid")

    def _idle(self) -> bool:
        return output_of("sinfo", "-h", "-N", "-p", "cpu", "-o", "%t").strip() == "idle"

    def stop_controller(self) -> None:
        """Stop slurmctld alone; jobs go on."""
        end_process(self.folder / "slurmctld.pid", 30)

    def start_controller(self) -> None:
        """Start slurmctld again, with the jobs that it knew, and wait until it answers."""
        call("slurmctld")
        wait_until(lambda: output_of("squeue", "-h") or output_of("sinfo", "-h"), 30, "slurmctld answers")

    def stop(self) -> None:
        """Cancel what is left, stop the daemons and take the settings away."""
        self.drain()
        for file in (self.folder / "slurmd.pid", self.folder / "slurmctld.pid", Path("/run/munge/entity-mech.pid")):
            end_process(file, 20)
        for name in ("slurm.conf", "gres.conf", "cgroup.conf"):
            (SETTINGS / name).unlink(missing_ok=True)

    def drain(self) -> None:
        """Cancel all jobs and wait a while for their end."""
        output_of("scancel", "--user=root")
        wait = time.monotonic() + 15
        while self.busy() and time.monotonic() < wait:
            time.sleep(0.2)

    def jobs(self) -> list[Job]:
        """All jobs of the cluster's life, in the order of their ids."""
        blocks = output_of("scontrol", "--oneliner", "show", "job").splitlines()
        return sorted((_read_job(line) for line in blocks if "JobId=" in line), key=lambda job: job.id)

    def busy(self) -> bool:
        """Whether a job is in the queue."""
        return bool(output_of("squeue", "-h").strip())


def _read_job(line: str) -> Job:
    fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
    hours, minutes, _ = fields["TimeLimit"].rsplit("-")[-1].split(":")
    unit = {"M": 1.0, "G": 1024.0, "T": 1024.0**2}
    memory = fields["MinMemoryNode"]
    gpus = fields.get("TresPerJob", "").partition("gpu:")[2]
    return Job(
        id=int(fields["JobId"]),
        name=fields["JobName"],
        what=fields.get("Comment", ""),
        state=fields["JobState"],
        partition=fields["Partition"],
        gpus=int(gpus or 0),
        memory_mb=round(float(memory[:-1]) * unit[memory[-1]]),
        minutes=60 * int(hours) + int(minutes),
    )


def end_process(file: Path, seconds: float) -> None:
    """Stop the process of a PID file and wait for its end; kill it when it does not end in time."""
    if not file.exists():
        return
    process = int(file.read_text())
    end = time.monotonic() + seconds
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(process, sign)
            while time.monotonic() < end:
                os.kill(process, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            break
    file.unlink(missing_ok=True)


def main() -> None:
    """Whether a cluster can be started on this machine: start one, stop it."""
    why_not = missing()
    if why_not is not None:
        sys.exit(why_not)
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.start()
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
