"""The small study, run once."""

import pytest

from tests.helpers.study_copy import StudyCopy


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyCopy:
    """The project with a finished run. Tests look at it and leave it as it is."""
    study = StudyCopy.new(tmp_path_factory.mktemp("finished") / "project")
    study.run()
    return study


@pytest.fixture
def study(finished: StudyCopy, tmp_path) -> StudyCopy:
    """A copy of the finished run, for a test to change."""
    return finished.copy(tmp_path / "project")
