"""What is said of failed jobs, from logs as Snakemake writes them."""

import pytest

from entity_mech.failures import summary

ALONE = """Error in rule path_patch:
    message: None
    jobid: {job}
    input: results/x/models/base/model.json
    output: results/x/models/base/path_patching.csv
    log: {folder}/path_patch/base.log (check log file(s) for error details)
Logfile {folder}/path_patch/base.log:
================================================================================
an old line
"""
GROUP = """    message: SLURM-job '7' failed
    jobs:
        rule draw_dcm:
            jobid: 11
            output: a.png
            log: {folder}/draw_dcm.log (check log file(s) for error details)
        rule draw_cmap:
            jobid: 12
            output: b.png
            log: {folder}/draw_cmap.log (check log file(s) for error details)
"""


@pytest.fixture
def logs(tmp_path):
    (tmp_path / "path_patch").mkdir()
    lines = [f"line {i}" for i in range(20)]
    (tmp_path / "path_patch/base.log").write_text("\n".join([*lines, "12:00:00 error: no room", "1 s, at most 3 MB"]))
    (tmp_path / "draw_dcm.log").write_text("12:00:00 fine\n")
    (tmp_path / "draw_cmap.log").write_text("Traceback (most recent call last)\nKeyError: 1\n")
    return tmp_path


def test_a_failed_job_is_told_once_with_the_end_of_its_log(logs):
    text = ALONE.format(folder=logs, job=3)
    said = summary(f"[date]\n{text}[date]\nTrying to restart job 3.\n[date]\n{text}", lines=3)
    assert said.count("path_patch base, log") == 1
    assert "1 of the jobs failed" in said
    assert said.endswith("    | line 19\n    | 12:00:00 error: no room\n    | 1 s, at most 3 MB\n")


def test_a_retry_that_succeeded_is_no_failure(logs):
    text = ALONE.format(folder=logs, job=3)
    assert not summary(f"{text}[date]\nFinished jobid: 3 (Rule: path_patch)\n")
    assert "path_patch base" in summary(f"{text}[date]\nFinished jobid: 33 (Rule: path_patch)\n")


def test_of_a_group_only_jobs_in_trouble_are_told(logs):
    said = summary(GROUP.format(folder=logs))
    assert "draw_cmap, log" in said
    assert "KeyError: 1" in said
    assert "draw_dcm" not in said


def test_a_job_without_a_log_and_a_run_without_a_failure(tmp_path):
    assert "it did not start" in summary(ALONE.format(folder=tmp_path, job=1))
    assert not summary("Error: Directory cannot be locked.\n")
