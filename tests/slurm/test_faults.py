"""What clusters do to jobs. Each test takes one result of the finished study away, has it made again while something
breaks, and asks for the same bytes."""

import os
import signal
import time

import pytest

from tests.helpers.slurm_cluster import call, wait_until
from tests.helpers.slurm_study import PATIENCE, Run, Study

pytestmark = pytest.mark.usefixtures("whole_run")
BEHAVIOUR = "models/base/behaviour/evaluation.csv"
SCORES = "models/base/path_patching/value_fetcher/0.h5"
PARTIAL = "models/base/path_patching/value_fetcher/0.partial.h5"


def states(run: Run, rule: str) -> list[str]:
    return [job.state for job in run.jobs(rule)]


def test_a_cancelled_job_is_tried_again_with_more(study: Study):
    target, before = study.forget(BEHAVIOUR)
    run = study.start(target)
    job = run.running("measure_behaviour")
    call("scancel", str(job.id))
    run.expect()
    assert states(run, "measure_behaviour") == ["CANCELLED", "COMPLETED"]
    first, second = run.jobs("measure_behaviour")
    assert second.memory_mb == pytest.approx(2 * first.memory_mb, abs=2)
    assert second.minutes == 2 * first.minutes
    assert study.path(BEHAVIOUR).read_bytes() == before


def test_a_job_out_of_memory_is_tried_again_with_more(study: Study):
    target, before = study.forget(BEHAVIOUR)
    run = study.start(target, "--set-resources", "measure_behaviour:mem_mb=200 * 10 ** (attempt - 1)").expect()
    first, second = run.jobs("measure_behaviour")
    assert first.state in ("OUT_OF_MEMORY", "FAILED", "CANCELLED")
    assert (first.memory_mb, second.memory_mb, second.state) == (200, 2000, "COMPLETED")
    assert study.path(BEHAVIOUR).read_bytes() == before


def stopped_in_the_middle(study: Study) -> int:
    """Wait until path patching has done some of its batches, and halt its python there; its id."""
    process = study.script("path_patch")
    wait_until(study.path(PARTIAL).exists, PATIENCE, "a partial file")
    os.kill(process, signal.SIGSTOP)
    return process


def gone_on(study: Study) -> bool:
    return "going on from" in study.path("logs/path_patch/base.log").read_text()


def test_a_job_that_reached_its_time_limit_goes_on_where_it_was(study: Study):
    target, before = study.forget(SCORES)
    run = study.start(target)
    job = run.running("path_patch")
    stopped_in_the_middle(study)
    call("scontrol", "update", f"JobId={job.id}", "EndTime=now+2seconds")
    run.expect()
    assert states(run, "path_patch") == ["TIMEOUT", "COMPLETED"]
    assert gone_on(study)
    assert study.path(SCORES).read_bytes() == before
    assert not study.path(PARTIAL).exists()


def test_a_job_whose_python_was_killed_goes_on_where_it_was(study: Study):
    target, before = study.forget(SCORES)
    run = study.start(target)
    os.kill(stopped_in_the_middle(study), signal.SIGKILL)
    run.expect()
    assert states(run, "path_patch") == ["FAILED", "COMPLETED"]
    assert gone_on(study)
    assert study.path(SCORES).read_bytes() == before


def test_after_a_kill_of_snakemake_the_queue_drains_and_the_run_goes_on(study: Study):
    target, before = study.forget("tables/behaviour.csv")
    _, measured = study.forget(BEHAVIOUR)
    run = study.start(target)
    run.running("measure_behaviour")
    os.kill(run.process.pid, signal.SIGKILL)
    run.end()
    wait_until(lambda: not study.cluster.busy(), PATIENCE, "the queue is empty")
    assert study.path(BEHAVIOUR).read_bytes() == measured  # its job went on
    locked = study.start(target).expect(1)
    assert "--unlock" in locked.text
    assert not locked.jobs()
    study.start("--unlock").expect()
    again = study.start(target).expect()
    assert [job.state for job in again.jobs()] == ["COMPLETED"]
    assert "tabulate_behaviour" in again.jobs()[0].what
    assert study.path("tables/behaviour.csv").read_bytes() == before


def test_a_controller_that_goes_and_comes_back_costs_nothing(study: Study):
    target, before = study.forget(BEHAVIOUR)
    run = study.start(target)
    study.script("measure_behaviour")  # a job that starts just then waits for minutes until srun asks again
    study.cluster.stop_controller()
    time.sleep(5)  # Snakemake asks after its job and gets no answer
    study.cluster.start_controller()
    run.expect()
    assert states(run, "measure_behaviour") == ["COMPLETED"]
    assert study.path(BEHAVIOUR).read_bytes() == before
