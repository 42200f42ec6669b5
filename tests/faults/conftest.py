"""The small study, run once without a fault."""

import shutil
from pathlib import Path

import pytest
from local_study import LocalStudy


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> LocalStudy:
    """A finished run. Tests compare with it and leave it alone."""
    study = LocalStudy(tmp_path_factory.mktemp("undisturbed"))
    study.run()
    return study


@pytest.fixture
def study(undisturbed: LocalStudy, tmp_path: Path) -> LocalStudy:
    """A copy of the finished run, with its dates, for a test to damage."""
    shutil.copytree(undisturbed.folder, tmp_path / "study")
    return LocalStudy(tmp_path / "study")
