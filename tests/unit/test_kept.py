"""Results of another config are not kept where Snakemake cannot tell."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from entity_mech.errors import UserError
from entity_mech.files import seal_file, write_checked_json, write_table
from entity_mech.hdf5 import write_hdf5
from entity_mech.kept import KeptJob, check_kept, options_stamp
from entity_mech.provenance import write_resolved_config
from entity_mech.seals import STAMP

PARAMS = {"options": {"seed": 0, "pairs": [1, 2]}, "code": "a" * 16, "machine": {"device": "cpu"}}
CONFIG = {"seed": 0, "dcm": {"pairs": [1, 2]}, "labels": {}}
WRITERS = {
    "a.csv": lambda path: write_table(path, pd.DataFrame({"x": [1]})),
    "a.json": lambda path: write_checked_json(path, {"x": 1}),
}


@pytest.fixture(params=["a.csv", "a.json", "a.h5"])
def output(request, tmp_path):
    """A file that a job with PARAMS wrote, and the run's config beside it."""
    token = STAMP.set(options_stamp(PARAMS))
    path = tmp_path / request.param
    if path.suffix == ".h5":
        with write_hdf5(path):
            pass
    else:
        WRITERS[request.param](path)
    write_resolved_config(tmp_path / "config.resolved.yaml", CONFIG)
    STAMP.reset(token)
    return path


def keep(output: Path, params: dict[str, object], config=CONFIG, recorded=False) -> None:
    jobs = [KeptJob([str(output.with_name("gone.csv")), str(output)], params, recorded)]
    check_kept(jobs, config, output.with_name("config.resolved.yaml"))


def test_what_was_made_with_the_same_options_is_kept(output):
    keep(output, PARAMS)
    keep(output, {**PARAMS, "machine": {"device": "cuda"}})
    keep(output, json.loads(json.dumps(PARAMS)))
    keep(output, {**PARAMS, "options": {"pairs": (1, 2), "seed": 0}})


def test_what_was_made_with_others_is_refused_and_the_keys_are_named(output):
    with pytest.raises(UserError) as error:
        keep(output, {**PARAMS, "options": {"seed": 3}}, {**CONFIG, "seed": 3, "dcm": {"pairs": [1, 4]}})
    said = str(error.value)
    assert said.startswith(str(output.with_name("gone.csv")))
    assert "another config (seed was 0 and is 3, dcm.pairs.1 was 2 and is 4)" in said
    assert "--forceall" in said


def test_the_resolved_config_may_be_gone(output):
    output.with_name("config.resolved.yaml").unlink()
    with pytest.raises(UserError, match="other options or by other code"):
        keep(output, {**PARAMS, "options": {}})


def test_other_code_counts_where_snakemake_cannot_tell(output):
    other = {**PARAMS, "code": "b" * 16}
    keep(output, other, recorded=True)
    with pytest.raises(UserError, match="other code"):
        keep(output, other)


def test_how_figures_look_is_no_option():
    study = {"models": ["base"], "look": {"palette": "deep"}, "labels": {"base": "x"}}
    plain = {"models": ["base"], "look": {}, "labels": {}}
    assert options_stamp({"study": study}) == options_stamp({"study": plain})
    assert options_stamp({"study": study}) != options_stamp({"study": {**study, "models": []}})


def test_what_no_job_wrote_is_left_alone(tmp_path):
    write_table(tmp_path / "a.csv", pd.DataFrame({"x": [1]}))
    (tmp_path / "b.csv").write_text("x\n1\n")
    for name in ("a.csv", "b.csv", "c.csv"):
        keep(tmp_path / name, PARAMS)


def test_another_files_copy_is_left_to_its_reader(output):
    copy = output.with_name(f"copy{output.suffix}")
    shutil.copy(output, copy)
    if output.suffix == ".csv":
        shutil.copy(seal_file(output), seal_file(copy))
    keep(copy, {**PARAMS, "options": {}})
