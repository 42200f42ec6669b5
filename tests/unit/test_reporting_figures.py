"""Figures: readable at any size of study, the same bytes twice, each beside its table."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import tests.helpers.reporting_stage_tables as more
import tests.helpers.reporting_tables as tables
from entity_mech.files import read_table
from entity_mech.reporting.catalogue import FAMILIES
from entity_mech.reporting.figures.accuracy import accuracy
from entity_mech.reporting.figures.circuit_size import circuit_size
from entity_mech.reporting.figures.cmap import cmap
from entity_mech.reporting.figures.dcm import dcm, dcm_curves
from entity_mech.reporting.figures.faithfulness import faithfulness
from entity_mech.reporting.figures.role_map import members
from entity_mech.reporting.figures.score_maps import score_maps
from entity_mech.reporting.style import save_drawing, short_name, wrap_name
from entity_mech.reporting.tables import circuit_table, cmap_table, faithfulness_table
from entity_mech.task.task import Task
from tests.helpers.figure_text import cut_off, overlaps, placed_texts
from tests.helpers.reporting_figures import LARGE, NAMES, gallery
from tests.helpers.reporting_study import PAPER, make_study
from tests.helpers.reporting_tables import SMALL

TINY = make_study(4)
CASES = {
    "4 models of 4 x 4": gallery(TINY, 4, 4, SMALL),
    "8 models of 32 x 32": gallery(make_study(8), 32, 32, LARGE),
    "the paper's": gallery(make_study(names=PAPER), 32, 32, {"A": 50, "B": 10, "C": 25, "D": 5}),
    "2 models of 7 x 8": gallery(make_study(2), 7, 8, {**SMALL, "C": 0}),
}


def test_gallery_has_every_family() -> None:
    assert {family.name for family in FAMILIES} == set(NAMES) == set(CASES["2 models of 7 x 8"])


def check_text(figure: Figure) -> None:
    texts = placed_texts(figure)
    assert overlaps(texts) == []
    assert cut_off(figure, texts) == []


@pytest.mark.parametrize("name", NAMES)
def test_text_does_not_overlap_in_a_large_study(name: str) -> None:
    check_text(CASES["8 models of 32 x 32"][name]().figure)


@pytest.mark.parametrize("name", ["path_patching", "circuits", "faithfulness", "role_map", "completeness", "cmap"])
def test_text_does_not_overlap_in_the_tiny_family(name: str) -> None:
    check_text(CASES["4 models of 4 x 4"][name]().figure)


@pytest.mark.parametrize("name", ["behaviour", "faithfulness", "circuits", "overlap", "probes"])
@pytest.mark.parametrize("case", ["the paper's", "2 models of 7 x 8"])
def test_text_does_not_overlap_in_other_sizes(case: str, name: str) -> None:
    check_text(CASES[case][name]().figure)


def test_overlapping_and_cut_text_is_found() -> None:
    figure = Figure(figsize=(2, 2))
    figure.text(0.5, 0.5, "one")
    figure.text(0.5, 0.52, "other")
    figure.text(0.9, 0.9, "too long for the figure")
    texts = placed_texts(figure)
    assert overlaps(texts) == [("one", "other")]
    assert cut_off(figure, texts) == ["too long for the figure"]


@pytest.mark.parametrize(
    "name", ["behaviour", "path_patching", "circuits", "faithfulness", "role_map", "dcm", "cmap", "attention"]
)
def test_drawn_twice_gives_the_same_bytes(name: str, tmp_path) -> None:
    draw = CASES["2 models of 7 x 8"][name]
    formats = ("png", "pdf") if name in ("behaviour", "circuits") else ("png",)
    drawing = draw()
    first = save_drawing(drawing, tmp_path / "one" / name, formats, 50)
    second = save_drawing(draw(), tmp_path / "two" / name, formats, 50)
    assert [path.suffix for path in first] == [*(f".{form}" for form in formats), ".csv"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert not any(word in one.read_bytes() for word in (b"Software", b"CreationDate", b"Matplotlib"))
    assert len(read_table(first[-1])) == len(drawing.table) > 0


def test_a_model_and_a_group_keep_their_colours() -> None:
    fewer, more = make_study(3), make_study(8)
    for model in fewer.models:
        assert fewer.model_color(model) == more.model_color(model)
        assert fewer.model_marker(model) == more.model_marker(model)
    assert len({more.model_color(model) for model in more.models}) == 8
    assert len({more.model_marker(model) for model in more.models}) == 8
    for group in more.groups:
        assert more.group_color(group.name) == more.group_color(group.letter)


def test_another_palette_is_used() -> None:
    study = make_study(3)
    other = make_study(3, look={"palette": "Set2"})
    assert other.model_color("chat") != study.model_color("chat")


def test_published_accuracy_stands_beside_the_papers_models_alone() -> None:
    paper = make_study(names=PAPER)
    table = accuracy(paper, tables.behaviour(paper)).table
    whole = table[table["metric"] == "accuracy"].set_index("model")["published"]
    assert whole.to_dict() == {"llama-7b": 0.66, "vicuna-7b": 0.67, "goat-7b": 0.82, "float-7b": 0.82}
    assert table.loc[table["metric"] != "accuracy", "published"].isna().all()
    assert accuracy(TINY, tables.behaviour(TINY)).table["published"].isna().all()


def test_faithfulness_table_takes_mean_and_spread_of_random_circuits() -> None:
    study = make_study(2)
    results = tables.faithfulness(study)
    mask = (results["model"] == "chat") & (results["circuit"] == "base") & (results["kind"] == "random")
    results.loc[mask, "faithfulness"] = [0.1, 0.3] * 50
    results.loc[mask, "accuracy"] = [0.0, 0.2] * 50
    row = faithfulness_table(study, results).set_index(["circuit", "model"]).loc[("base", "chat")]
    assert row["random_faithfulness"] == pytest.approx(0.2)
    assert row["random_accuracy_sd"] == pytest.approx(np.std([0.0, 0.2] * 50, ddof=1))
    assert row["ceiling_faithfulness"] == pytest.approx(1.01)
    assert row["random_draws"] == 100


def test_undefined_faithfulness_says_so() -> None:
    study = make_study(2)
    results = tables.faithfulness(study)
    broken = (results["model"] == "chat") & (results["kind"] == "circuit")
    results.loc[broken, ["faithfulness", "faithfulness_low", "faithfulness_high"]] = np.nan
    figure = faithfulness(study, results).figure
    assert [text.get_text() for text in figure.axes[0].texts].count("undefined") == 2


def test_score_maps_share_a_scale_with_their_null_and_mark_the_circuit() -> None:
    scores = tables.path_patching(TINY, 4, 4, SMALL)
    circuit = circuit_table(tables.circuit(TINY, scores, "base"))
    drawing = score_maps(TINY, scores, circuit)
    own = scores[scores["letter"] == "A"]
    largest = own[["score", "null_score"]].abs().max().max()
    for axes in drawing.figure.axes[:2]:
        assert axes.images[0].get_clim() == pytest.approx((-largest, largest))
    assert drawing.table["candidate"].sum() == len(circuit)
    kept = drawing.table[drawing.table["kept"]]
    assert len(kept) == circuit["kept"].sum() == 4 + 4 + 1 + 5
    assert kept["candidate"].all()


def test_receivers_are_marked_where_a_later_search_patches_into_them() -> None:
    table = score_maps(TINY, tables.path_patching(TINY, 4, 4, SMALL)).table
    marked = table[table["receiver"]].groupby("letter").size().to_dict()
    assert marked == {"A": 2, "B": 2, "C": 1}  # nothing follows D


def test_score_maps_say_how_many_prompts_were_scored() -> None:
    scores = tables.path_patching(TINY, 4, 4, SMALL, n=11)
    texts = [text for text, *_ in placed_texts(score_maps(TINY, scores).figure)]
    assert any("n = 11 prompts" in text for text in texts)


def test_a_null_map_is_drawn_only_where_there_is_one() -> None:
    scores = tables.path_patching(TINY, 4, 4, SMALL)
    refined = scores.assign(null_score=scores["null_score"].where(scores["letter"] == "A"))
    shown = [axes.get_visible() for axes in score_maps(TINY, refined).figure.axes[:8]]
    assert shown == [True, True, *(True, False) * 3]
    without = score_maps(TINY, scores.assign(null_score=np.nan)).figure
    assert not any(axes.get_title() == "null" for axes in without.axes)


def test_no_legend_for_random_draws_that_were_not_made() -> None:
    study = make_study(2)
    results = tables.cmap(study)
    for given, said in ((results, True), (results[results["kind"] != "random"], False)):
        labels = [text for text, *_ in placed_texts(cmap(study, given).figure)]
        assert any("random heads" in label for label in labels) == said


def test_the_size_of_circuits_of_a_model_that_answers_nothing() -> None:
    """Faithfulness is then undefined; where circuits answer nothing, the model's own accuracy is not in the table."""
    study = make_study(3)
    curve, summary = more.circuit_size(study, 48)
    none, weak = (curve["model"] == name for name in study.models[1:])
    measured = [name for name in curve if name.startswith("faithfulness")]
    curve.loc[none, measured] = np.nan
    curve.loc[weak, measured] = 0.0
    curve.loc[none | weak, [name for name in curve if name.startswith("accuracy")]] = 0.0
    summary.loc[summary["model"] == study.models[1], ["area", "distance"]] = np.nan
    figure = circuit_size(study, curve, summary).figure
    check_text(figure)
    dashed = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert len(dashed) == 2
    assert dashed[1] == 0 < dashed[0]
    labels = [text for text, *_ in placed_texts(figure)]
    assert any(label.endswith(": answers no prompt correctly") for label in labels)
    assert not any("nan" in label for label in labels)


def test_an_empty_group_has_no_bar() -> None:
    study = make_study(2)
    results = tables.cmap(study)
    empty = (results["part"] == "C") & (results["circuit"] == "chat") & (results["kind"] == "chosen")
    results.loc[empty, "n_heads"] = 0
    figure = cmap(study, results[~((results["part"] == "C") & (results["kind"] == "random"))]).figure
    check_text(figure)
    said = [text for axes in figure.axes for text in axes.texts if text.get_text() == "no heads"]
    assert len(said) == empty.sum() > 0
    bars = sum(len(axes.patches) for axes in figure.axes)
    assert bars == (results["kind"] == "chosen").sum() - empty.sum()


def test_models_of_another_base_are_drawn_but_not_as_fine_tuned() -> None:
    study = make_study(2, others=("stranger",))
    assert study.fine_tuned == ("chat",)
    assert study.model_color("stranger") not in {study.model_color("base"), study.model_color("chat")}
    shown = accuracy(study, tables.behaviour(study)).table
    assert set(shown["model"]) == {"base", "chat", "stranger"}
    assert "stranger" not in set(cmap(study, tables.cmap(study)).table["model"])


def test_cmap_table_has_controls_and_own_accuracies() -> None:
    study = make_study(names=PAPER)
    results = tables.cmap(study)
    table = cmap_table(study, results).set_index(["donor", "target", "circuit", "part", "way"])
    row = table.loc[("goat-7b", "llama-7b", "goat-7b", "A", "outputs")]
    drawn = results[
        (results["donor"] == "goat-7b")
        & (results["target"] == "llama-7b")
        & (results["circuit"] == "goat-7b")
        & (results["part"] == "A")
        & (results["way"] == "outputs")
        & (results["kind"] == "random")
    ]
    assert row["random_accuracy"] == pytest.approx(drawn["accuracy"].mean())
    assert row["target_accuracy"] == pytest.approx(0.66)
    assert row["donor_accuracy"] == pytest.approx(0.82)
    assert row["published"] == 0.82
    assert pd.isna(table.loc[("goat-7b", "llama-7b", "llama-7b", "A", "outputs")]["published"])


def test_a_fourth_desideratum_is_drawn_as_the_others() -> None:
    table = tables.dcm(TINY)
    fourth = table[table["desideratum"] == "label"].assign(desideratum="known_object")
    drawing = dcm(TINY, pd.concat([table, fourth], ignore_index=True))
    check_text(drawing.figure)
    titles = [axes.get_title(loc="left") for axes in drawing.figure.axes]
    assert titles[:4] == ["A object", "A label", "A position", "A known object"]
    # a mask whose heads are not shown to do anything: its number is in brackets
    chosen = [text.get_text() for text in drawing.figure.axes[0].texts + drawing.figure.axes[1].texts]
    assert chosen == ["7 of 10"] * 4 + ["(7 of 10)"] * 4


def test_training_steps_are_counted_over_epochs() -> None:
    table = dcm_curves(TINY, tables.dcm_curves(TINY)).table
    one = table[(table["model"] == "base") & (table["group"] == "value_fetcher") & (table["desideratum"] == "object")]
    assert one["steps"].tolist() == list(range(len(one)))
    assert one["loss"].is_monotonic_decreasing


def test_sets_of_tokens_become_words() -> None:
    assert members(Task(), "label+last") == ({"label", "last"}, [])
    assert members(Task(), "previous_label") == ({"label"}, [])
    assert members(Task(), "other_labels+query") == ({"query_box", "query_label", "contains", "last"}, ["labels"])
    roles, others = members(Task(), "everything")
    assert len(roles) == 11
    assert others == ["all"]


def test_long_names_are_broken_or_shortened() -> None:
    assert wrap_name("LoRA fine-tune", 11) == "LoRA\nfine-tune"
    assert all(len(line) <= 11 for line in wrap_name("averyveryverylongnamewithoutbreaks", 11).split("\n"))
    assert short_name("short") == "short"
    assert len(short_name("x" * 50, 22)) == 22
