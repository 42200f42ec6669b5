"""A run that is killed with all its jobs, again and again, ends with the files of an undisturbed one."""

import os
import random
import re
import time

from tests.helpers.local_study import LocalStudy, kill, wait_until

MOMENTS = int(os.environ.get("MOMENTS", "3"))
SEED = 0


def steps(said: str) -> int:
    """Jobs that were done, of those that Snakemake set out to do."""
    return max((int(done) for done in re.findall(r"^(\d+) of \d+ steps", said, re.MULTILINE)), default=0)


def total(said: str) -> int:
    return int(re.search(r"^total +(\d+)$", said, re.MULTILINE)[1])


def test_a_study_killed_at_random_moments_ends_with_the_same_files(undisturbed: LocalStudy, tmp_path_factory):
    chance = random.Random(SEED)
    study, expected = LocalStudy(tmp_path_factory.mktemp("killed")), undisturbed.results()
    shares = sorted(chance.uniform(0, 0.95) for _ in range(MOMENTS))
    whole = total(undisturbed.said())
    done = 0
    for share in shares:
        process = study.start()
        goal = max(0, int(share * whole) - done)
        wait_until(lambda goal=goal, process=process: reached(study, goal) or process.poll() is not None, "a step")
        time.sleep(chance.uniform(0, 2))
        kill(process)
        done += steps(study.said())
        if share == shares[0]:
            assert "--unlock" in study.run(code=1)
        study.run("--unlock")
    study.run()
    found = study.results()
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


def reached(study: LocalStudy, goal: int) -> bool:
    """Whether so many jobs are done; for none, whether the first has begun."""
    said = study.said()
    return steps(said) >= goal and "Execute" in said


def test_two_at_once_the_second_is_sent_away(study: LocalStudy, undisturbed: LocalStudy):
    target = study.forget("models/base/behaviour/evaluation.csv")
    first = study.start(target, log="first.log")
    try:
        wait_until(lambda: list((study.folder / ".snakemake/locks").glob("*")), "a lock")
        assert "locked" in study.run(target, code=1)
        assert first.wait(600) == 0, study.said("first.log")
    finally:
        kill(first)
    assert (
        study.path("models/base/behaviour/evaluation.csv").read_bytes()
        == undisturbed.results()["models/base/behaviour/evaluation.csv"]
    )
