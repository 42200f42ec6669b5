"""The table of stages: it names each rule, table and figure once, and says what a run has and asks for."""

import re
from pathlib import Path

import pytest

from entity_mech.config.schema import Config
from entity_mech.config.sections import Model
from entity_mech.reporting.captions import CAPTIONS
from entity_mech.reporting.catalogue import CATEGORIES, SECTIONS
from entity_mech.stages.derived import rules_by_kind
from entity_mech.stages.stage import Run
from entity_mech.stages.table import FIGURES, JOBS, OPTIONAL, STAGES

ROOT = Path(__file__).parents[2]
TUNED = Run(("base", "a"), "base", ("a",), (("base", "base"), ("a", "base"), ("a", "a")))


def test_every_rule_with_a_script_stands_in_the_table_once():
    listed = [rule for stage in STAGES for rule in stage.jobs]
    assert len(listed) == len(set(listed))
    text = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    written = set(re.findall(r"^rule (\w+):\n(?:[ \t].*\n|\n)*?    script:", text, re.MULTILINE))
    again = dict(re.findall(r"^use rule (\w+) as (\w+) with:", text, re.MULTILINE))
    assert written | set(again.values()) == set(listed) - {"draw"}, "figures have a rule each, made in a loop"
    assert set(again) <= written == {path.stem for path in (ROOT / "workflow/scripts").glob("[!_]*.py")} - {"draw"}
    for rule in listed:
        assert f'asks("{rule}"' in text, f"{rule} asks for what another rule needs"


def test_every_table_and_figure_has_one_name():
    for names in (
        [table for stage in STAGES for table in stage.tables],
        [figure.name for figure in FIGURES],
        [stage.name for stage in STAGES],
    ):
        assert len(names) == len(set(names))
    tables = {table for stage in STAGES for table in stage.tables}
    for stage in STAGES:
        assert set(stage.found_in) <= set(stage.tables)
        assert not stage.figures or {stage.section} <= SECTIONS.keys() & CATEGORIES.keys()
    for figure in FIGURES:
        assert set(figure.tables) <= tables
        assert CAPTIONS[figure.name].strip()
        assert (ROOT / (figure.module.replace(".", "/") + ".py")).is_file()


def test_figures_of_a_stage_need_no_table_of_a_stage_that_can_be_left_out():
    for stage in STAGES:
        for other in STAGES:
            if other.optional and other is not stage:
                assert not {table for figure in stage.figures for table in figure.tables} & set(other.tables)


def test_a_run_has_the_stages_that_it_does_not_leave_out():
    assert [one.name for one in STAGES if one not in TUNED.stages(STAGES)] == ["given"]
    names = {stage.name for stage in Run(("base",), "base", (), (("base", "base"),), ("probes",)).stages(STAGES)}
    assert {stage.name for stage in STAGES} - names == {"given", "probes", "cmap", "cmap_inputs"}
    assert {"cmap_inputs", "role_map"} < set(OPTIONAL)
    assert not {"cmap", "dcm", "behaviour"} & set(OPTIONAL)


@pytest.mark.parametrize(
    ("stage", "table", "files"),
    [
        ("dcm", "dcm", ["dcm/base.csv", "dcm/a.csv"]),
        ("faithfulness", "faithfulness", ["base/base", "a/base", "a/a"]),
        ("cmap", "cmap", ["cmap/base__a.csv"]),
    ],
)
def test_parts_of_a_merged_table(stage, table, files):
    (one,) = (each for each in STAGES if each.name == stage)
    parts = TUNED.merged(one)[table]
    assert [part.model for part in parts] == [model for model, _ in TUNED.pairs] if one.per == "pair" else True
    assert all(wanted in part.file for wanted, part in zip(files, parts, strict=True))
    assert "behaviour" not in TUNED.merged(next(each for each in STAGES if each.name == "behaviour"))


def test_the_circuits_belong_to_their_stage():
    (one,) = (each for each in STAGES if each.name == "prune_circuits")
    assert TUNED.files(one) == ["circuits/base.json", "circuits/a.json"]


def test_a_given_model_has_what_was_given_or_can_be_measured_from_it():
    given = {"given_scores": ("a", "c"), "given_circuits": ("b", "c")}
    run = Run(("base", "a", "b", "c"), "base", (), (), **given)
    assert run.having(None) == run.models
    assert run.having("scores") == ("base", "a", "c")
    assert run.having("effects") == ("base",)
    assert run.having("pruning") == ("base", "a")
    of = {table: [part.model for part in parts] for one in STAGES for table, parts in run.merged(one).items()}
    assert of["path_patching"] == of["circuit_size"] == ["base", "a", "c"]
    assert of["significance"] == ["base", "a"]
    assert of["stability"] == ["base"]
    assert (of["given_scores"], of["given_circuits"]) == (["a", "c"], ["b", "c"])
    assert of["dcm"] == of["completeness"] == list(run.models)


def test_a_run_of_given_circuits_alone_has_no_stage_or_figure_of_scores():
    run = Run(("base",), "base", (), (("base", "base"),), (), (), ("base",))
    stages = run.stages(STAGES)
    assert {one.name for one in STAGES if one not in stages} >= {"path_patching", "stability", "circuit_size"}
    tables = [table for one in stages for table in run.tables(one)]
    assert {"circuits", "faithfulness", "given_circuits"} < set(tables)
    assert not {"path_patching", "significance", "stability", "circuit_size", "given_scores"} & set(tables)
    drawn = {figure.name for one in stages for figure in run.figures(one, tables)}
    assert {"circuits", "faithfulness", "overlap", "dcm"} < drawn
    assert not {"path_patching", "head_effects", "circuit_size"} & drawn


def test_rules_by_what_they_want():
    kinds = rules_by_kind()
    assert {"path_patch", "prepare_model", "train_dcm", "prune_pairs"} <= set(kinds["model"])
    prompts = {"choose_words", "make_prompts", "make_pairs", "make_fresh_pairs", "make_reworded_prompts"}
    assert prompts == set(kinds["dataset"])
    assert {"merge_tables", "draw_circuits", "tabulate_behaviour"} <= set(kinds["tables"])
    between = ["score_heads", "take_scores", "take_circuit"]
    assert kinds["between"] == between, "in a group with others they would wait for themselves"
    names = [rule for rules in kinds.values() for rule in rules]
    assert len(names) == len(set(names)) == len(JOBS) - 1 + len(FIGURES)


def test_pairs_are_all_or_with_the_base():
    models = [Model(name=name, path=name, base=None if name == "base" else "base") for name in ("a", "base", "b")]
    assert len(Config(models=models).pairs()) == 9
    near = Config(models=models, cross_models="base").pairs()
    wanted = [("a", "a"), ("b", "b"), ("base", "base"), ("a", "base"), ("base", "a"), ("b", "base"), ("base", "b")]
    assert sorted(near) == sorted(wanted)
