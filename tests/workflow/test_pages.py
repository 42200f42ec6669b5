"""The pages in headless Chromium: every image loads, the console stays silent."""

import shutil

import pytest

from tests.helpers.browser import broken_images, browser, open_page
from tests.helpers.study_copy import StudyCopy

pytestmark = pytest.mark.skipif(
    browser() is None, reason="no Chromium on this machine (.ci/run installs it): apt-get install chromium"
)


@pytest.mark.parametrize("page", ["results/small/index.html", "results/index.html"])
def test_static_pages_load_whole(finished: StudyCopy, tmp_path, page: str):
    folder = tmp_path / "copied elsewhere"
    shutil.copytree(finished.folder / "results", folder / "results")
    images, broken = broken_images(folder / page, tmp_path / "profile")
    assert broken == []
    assert images >= (9 if "small" in page else 0)
    document, console = open_page(folder / page, tmp_path / "profile")
    assert console == []
    assert "base" in document


def test_a_missing_image_is_noticed(finished: StudyCopy, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(finished.folder / "results", folder / "results")
    (folder / "results/small/figures/dcm.png").unlink()
    _, broken = broken_images(folder / "results/small/index.html", tmp_path / "profile")
    assert broken
    assert all("dcm.png" in address for address in broken)


def test_the_report_opens_with_its_figures_listed(finished: StudyCopy, tmp_path):
    document, console = open_page(finished.path("report.html"), tmp_path / "profile")
    assert [line for line in console if "ERROR" in line or "error" in line.lower()] == []
    for category in ("1 Behaviour", "2 Circuit", "3 Functions", "4 What fine-tuning improved"):
        assert category in document, category
