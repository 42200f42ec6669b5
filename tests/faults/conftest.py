"""The small study, run once without a fault."""

import shutil

import pytest

from tests.helpers.local_study import LocalStudy


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> LocalStudy:
    """A finished run. Tests compare with it and leave it alone."""
    study = LocalStudy(tmp_path_factory.mktemp("undisturbed"))
    study.run()
    return study


@pytest.fixture
def study(undisturbed: LocalStudy, tmp_path_factory: pytest.TempPathFactory) -> LocalStudy:
    """A copy of the finished run, with its dates, for a test to damage. As deep as the first: paths are relative."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(undisturbed.folder, folder, dirs_exist_ok=True)
    return LocalStudy(folder)
