"""What runs again after a change, and what does not."""

import os
import re

import pytest
import yaml

from tests.helpers.study_copy import OPTIONAL, RESULTS, StudyCopy

# What follows the masks, but not the masks themselves.
AFTER_MASKS = {
    "merge_tables dcm",
    "merge_tables dcm_curves",
    "merge_tables dcm_heads",
    "merge_tables dcm_answers",
    "draw_dcm",
    "draw_dcm_curves",
    "patch_across_models lora",
    "merge_tables cmap",
    "draw_cmap",
    "write_findings",
    "write_index",
}
MASKS = {"train_dcm base", "train_dcm lora"}
CONFIG_PAGE = {"write_config", "write_index"}  # show the whole config
ONE_MODEL = (
    "models/base/completeness.csv",
    "models/base/circuit_size.csv",
    "models/base/role_map.csv",
    "models/base/knockout.csv",
    "models/base/attention.csv",
    "patched_heads/lora/base.csv",
    "probes/base.csv",
    "cmap_inputs/base__lora.csv",
    "tables/overlap.csv",
)


def test_a_second_run_does_nothing_but_refresh_the_report(study: StudyCopy):
    before = study.dates()
    assert "Nothing to be done" in study.run()
    after = study.dates()
    assert {name for name in after if after[name] != before.get(name)} == {"report.html"}
    assert before.keys() == after.keys()


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ({"dcm": {"penalty": 0.2}}, MASKS | AFTER_MASKS | CONFIG_PAGE),
        ({"figures": {"colormap": "PuOr"}}, {"draw_path_patching"} | CONFIG_PAGE),
        ({"compute": {"threads": 2, "batch_size": 7}}, CONFIG_PAGE),
    ],
    ids=["dcm", "style", "machine"],
)
def test_a_key_reruns_what_uses_it_and_what_follows(study: StudyCopy, change, jobs):
    study.configure(change)
    assert study.planned() == jobs


def test_other_searches_leave_alone_what_does_not_depend_on_them(study: StudyCopy):
    """Mean outputs are those of every token, so what reads only them and the prompts is not made again."""
    searches = yaml.safe_load((study.folder / "config/config.yaml").read_text())["searches"]
    assert searches[-1]["token"] != "separator"
    searches[-1]["token"] = "separator"
    with_role_map = {"leave_out": [stage for stage in OPTIONAL if stage != "role_map"]}
    study.configure(with_role_map)
    study.run(f"{RESULTS}/models/base/role_map.csv")
    study.configure({**with_role_map, "searches": searches})
    planned = study.planned()
    assert {"store_activations base discovery", "path_patch base", "map_roles lora"} <= planned
    assert not {"map_roles base", "store_activations base means", "measure_behaviour base", "make_pairs"} & planned


def test_an_edit_of_the_code_reruns_what_uses_it_and_what_follows(study: StudyCopy):
    with (study.folder / "entity_mech/methods/dcm.py").open("a") as file:
        file.write("\n\nEDITED = True\n")
    assert study.planned() == MASKS | AFTER_MASKS


def test_an_edit_of_one_figure_redraws_that_figure_alone(study: StudyCopy):
    with (study.folder / "entity_mech/reporting/figures/faithfulness.py").open("a") as file:
        file.write("\n\nEDITED = True\n")
    assert study.planned() == {"draw_faithfulness", "write_index"}


def test_an_edit_of_a_pages_template_writes_that_page_alone(study: StudyCopy):
    with (study.folder / "entity_mech/reporting/templates/page.css").open("a") as file:
        file.write("/* edited */\n")
    assert study.planned() == {"write_index"}


def test_an_edit_of_a_comment_or_a_docstring_reruns_nothing(study: StudyCopy):
    path = study.folder / "entity_mech/methods/dcm.py"
    text, docstrings = re.subn(r'^( *)"""(?=\w)', r'\1"""Edited. ', path.read_text(), flags=re.MULTILINE)
    assert docstrings > 10
    path.write_text("# A comment.\n" + text)
    assert study.planned() == set()


def test_new_dates_rerun_nothing(study: StudyCopy):
    """As after a git checkout: scripts, rules, the package and the models are younger than the results."""
    touched = [
        path
        for part in ("workflow", "entity_mech", "demo_models", "config")
        for path in (study.folder / part).rglob("*")
        if path.is_file()
    ]
    assert len(touched) > 200
    for path in touched:
        os.utime(path)
    assert study.planned() == set()


def test_a_deleted_circuit_is_made_again_with_what_follows(study: StudyCopy, finished: StudyCopy):
    study.path("circuits/lora.json").unlink()
    assert study.planned() == {
        "prune_circuit lora",
        "merge_tables significance",
        "merge_tables pruning",
        "resample_scenes lora",
        "merge_tables stability",
        "tabulate_circuits",
        "draw_circuits",
        "draw_head_effects",
        "draw_path_patching",
        "measure_faithfulness base lora",
        "measure_faithfulness lora lora",
        "merge_tables faithfulness",
        "merge_tables circuit_answers",
        "draw_faithfulness",
        "store_activations lora dcm",
        "train_dcm lora",
        *AFTER_MASKS,
    }
    wanted = ("circuits/lora.json", "dcm/lora.csv", "figures/circuits/lora.png")
    before = study.dates()
    study.run(*(f"{RESULTS}/{name}" for name in wanted))
    after = study.dates()
    assert all(after[name] > before.get(name, 0) for name in wanted)
    kept = [name for name in after if "lora" not in name and name.startswith(("models/", "circuits/", "dcm/"))]
    assert len(kept) > 10
    assert [name for name in kept if after[name] != before[name]] == []
    assert study.contents() == finished.contents()


def test_another_model_leaves_the_others_own_files_alone(study: StudyCopy):
    chat = {"name": "chat", "path": "demo_models/tiny/chat", "base": "base"}
    models = [
        {"name": "base", "path": "demo_models/tiny/base"},
        {"name": "lora", "path": "demo_models/tiny/lora", "base": "base"},
    ]
    study.configure({"models": [*models, chat]})
    planned = study.planned()
    of_others = {job for job in planned if {"base", "lora"} & set(job.split()[1:])}
    assert of_others == {
        "measure_faithfulness base chat",
        "measure_faithfulness lora chat",
        "measure_faithfulness chat base",
        "measure_faithfulness chat lora",
    }
    assert {"prepare_model chat", "path_patch chat", "train_dcm chat", "patch_across_models chat"} <= planned
    assert not {"choose_words", "make_pairs"} & planned
    assert not any(job.startswith("make_prompts") for job in planned)


def test_stages_that_were_left_out_come_in_alone(study: StudyCopy):
    """Each stage then runs, as much of it as one model needs."""
    study.configure({"leave_out": []})
    planned = study.planned()
    new = {
        "measure_completeness", "compare_circuits", "measure_circuit_size", "map_roles", "make_fresh_pairs",
        "patch_dcm_heads", "probe_position", "patch_inputs_across_models", "knock_out_attention", "look_at_attention",
        *(f"draw_{stage}" for stage in OPTIONAL),
    }  # fmt: skip
    pages = {"merge_tables", "write_findings", *CONFIG_PAGE}
    assert {job.split()[0] for job in planned} == new | pages
    study.run(*(f"{RESULTS}/{name}" for name in ONE_MODEL))
    for name in ONE_MODEL:
        rows = study.path(name).read_text().splitlines()
        assert len(rows) > 1, name
        assert "nan" not in rows[0], name


def test_a_run_elsewhere_gives_the_same_bytes(finished: StudyCopy, tmp_path):
    again = StudyCopy.new(tmp_path / "somewhere" / "else")
    again.run(f"{RESULTS}/models/base/path_patching.csv")
    found, expected = again.contents(), finished.contents()
    assert {"dataset/discovery.jsonl", "dataset/words.json", "models/base/model.json"} < found.keys()
    assert [name for name in found if found[name] != expected[name]] == []
