"""A whole run gets a report beside its results; a dry run or a part of the workflow gets none."""

import pytest
from snakemake.cli import get_argument_parser

from entity_mech.report_file import report_file


@pytest.fixture
def asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("run: tiny\n")
    (tmp_path / "mine.yaml").write_text("run: mine\nbase: x\n")
    (tmp_path / "more.yaml").write_text("seed: 3\n")
    return lambda *options: report_file(get_argument_parser().parse_known_args(list(options))[0])


@pytest.mark.parametrize(
    ("options", "run"),
    [
        ([], "tiny"),
        (["--cores", "2"], "tiny"),
        (["--configfile", "mine.yaml"], "mine"),
        (["--configfile", "mine.yaml", "more.yaml"], "mine"),
        (["--configfile", "more.yaml"], "tiny"),
        (["--config", "run=second"], "second"),
        (["--configfile", "mine.yaml", "--config", "run=third", "seed=1"], "third"),
    ],
)
def test_a_whole_run(asked, options, run):
    assert asked(*options) == f"results/{run}/report.html"


@pytest.mark.parametrize(
    "options",
    [
        ["-n"],
        ["--dry-run", "--configfile", "mine.yaml"],
        ["prune_circuits"],
        ["results/tiny/tables/dcm.csv"],
        ["--until", "path_patch"],
        ["--omit-from", "train_dcm"],
        ["--touch"],
        ["--unlock"],
        ["--report", "elsewhere.html"],
    ],
)
def test_anything_else(asked, options):
    assert asked(*options) is None
