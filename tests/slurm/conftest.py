"""A SLURM cluster for the tests of this folder, and a small study that has been run on it once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.slurm_cluster import Cluster, missing, wait_until
from tests.helpers.slurm_study import WHOLE, Run, Study, processes_with


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that is up; it stops at the end, whatever happens, and leaves no process."""
    why_not = missing()
    if why_not is not None:
        pytest.fail(why_not, pytrace=False)
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
    wait_until(lambda: not processes_with(str(cluster.folder)), 20, "no process is left")


@pytest.fixture(scope="session")
def study(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """The study's folder."""
    study = Study(Path(tmp_path_factory.mktemp("study")), cluster)
    try:
        yield study
    finally:
        study.stop()
    wait_until(lambda: not processes_with(str(study.folder)), 20, "no process of a job is left")


@pytest.fixture(scope="session")
def whole_run(study: Study) -> Run:
    """The study's first run, from nothing to circuits and a figure, without a fault."""
    return study.start(*WHOLE).expect(seconds=420)
