"""Pages: every link leads to a file, nothing comes from a network, captions are filled in."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import jinja2
import pytest
from docutils.core import publish_parts

from entity_mech.config.schema import Config
from entity_mech.files import write_table
from entity_mech.reporting.captions import CAPTIONS, caption, report_template
from entity_mech.reporting.catalogue import ANSWERS, BY_NAME, FAMILIES, SECTION_OF, SECTIONS
from entity_mech.reporting.findings.finding import findings_table
from entity_mech.reporting.findings.page import QUESTIONS, findings_markdown, summary_table
from entity_mech.reporting.index_page import write_index
from entity_mech.reporting.render import page
from entity_mech.reporting.runs_page import write_runs
from entity_mech.reporting.study import Study, study_values
from entity_mech.reporting.tables import models_table
from tests.helpers.reporting_answers import LIMITS, found_in, with_answers
from tests.helpers.reporting_study import PAPER, make_study
from tests.helpers.reporting_tables import run_tables

ROOT = Path(__file__).parents[2]
CONFIG = Config().model_dump()
STUDY = make_study(4)
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Links, images, anchors; fails where tags are not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.open = path, []
        self.links, self.images, self.ids, self.scripts = [], [], set(), 0
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attributes) -> None:
        values = dict(attributes)
        self.links += [values["href"]] if tag == "a" else []
        self.images += [values["src"]] if tag == "img" else []
        self.ids |= {values["id"]} if "id" in values else set()
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def missing(self) -> list[str]:
        """Links and images that lead nowhere."""
        found = []
        for target in [*self.links, *self.images]:
            path, _, anchor = target.partition("#")
            if path and not (self.path.parent / unquote(path)).is_file():
                found.append(target)
            if not path and anchor not in self.ids:
                found.append(target)
        return found


def make_run(run: Path, study: Study, without: tuple[str, ...] = ()) -> None:
    """A run's folder with (empty) figures, tables, logs and its pages."""
    for family in FAMILIES:
        for model in study.models if family.per_model else [""]:
            for ending in ("png", "pdf", "csv"):
                path = run / "figures" / f"{family.stem.format(model=model)}.{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                if family.name not in without:
                    path.touch()
    given = with_answers(run_tables(study))
    findings = found_in(study, given)
    for name, table in {**given, "models": models_table(study, given, summary_table(study, findings))}.items():
        write_table(run / "tables" / f"{name}.csv", table)
    write_table(run / "tables/findings.csv", findings_table(findings))
    (run / "findings.md").write_text(findings_markdown(study, findings, run.name, LIMITS))
    for name in ("config.resolved.yaml", "report.html", "logs/path_patch/base.log", "logs/write_index.log"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    write_index(run, study, {**CONFIG, "run": run.name}, given, skip=("write_index",))


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    make_run(folder / "tiny", STUDY)
    make_run(folder / "paper", make_study(names=PAPER), without=("attention", "knockout", "probes"))
    write_runs(folder)
    return folder


def test_every_link_leads_to_a_file(results: Path) -> None:
    for name in ("tiny/index.html", "paper/index.html", "index.html"):
        assert Page(results / name).missing() == []


def test_every_figure_is_shown_with_its_table(results: Path) -> None:
    page = Page(results / "tiny/index.html")
    pngs = sorted(path.relative_to(results / "tiny").as_posix() for path in (results / "tiny").rglob("*.png"))
    assert sorted(page.images) == pngs
    for png in pngs:
        assert {png, png.replace(".png", ".pdf"), png.replace(".png", ".csv")} <= set(page.links)


def test_a_copied_folder_works_by_itself(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "tiny", tmp_path / "elsewhere")
    page = Page(tmp_path / "elsewhere/index.html")
    assert page.missing() == []
    assert not any(target.startswith(("/", "..", "http")) for target in [*page.links, *page.images])


def test_nothing_comes_from_a_network(results: Path) -> None:
    for path in results.rglob("index.html"):
        text = path.read_text()
        assert not re.search(r"https?:|//\w|@import|url\(", text.replace("<!doctype html>", ""))
        assert Page(path).scripts == 0


def test_sections_without_figures_are_left_out(results: Path) -> None:
    assert 'id="heads"' in (results / "tiny/index.html").read_text()
    assert "heads" not in Page(results / "paper/index.html").ids


def test_own_logs_are_left_out_and_others_are_there(results: Path) -> None:
    links = Page(results / "tiny/index.html").links
    assert "logs/path_patch/base.log" in links
    assert not any("write_index" in target for target in links)


def test_the_page_says_what_was_found(results: Path) -> None:
    text = (results / "paper/index.html").read_text()
    assert "published: 66%" in text
    assert "by less than 10%, with the whole interval" in text  # the rules, with the config's numbers
    assert "recall" in text
    assert "It keeps " in text
    assert "Overlap of the circuits was left out of this run." in text
    assert "{" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


def test_runs_stand_side_by_side(results: Path) -> None:
    page = Page(results / "index.html")
    assert page.links == ["paper/index.html", "tiny/index.html"]
    assert "goat-7b" in (results / "index.html").read_text()


def test_written_twice_gives_the_same_bytes(results: Path) -> None:
    first = (results / "tiny/index.html").read_bytes()
    write_index(
        results / "tiny", STUDY, {**CONFIG, "run": "tiny"}, with_answers(run_tables(STUDY)), skip=("write_index",)
    )
    assert (results / "tiny/index.html").read_bytes() == first


HOSTILE = """<b>bold</b>&<script>alert("x")</script>' onmouseover='y"""


def test_whatever_a_label_holds_it_stays_text(tmp_path: Path) -> None:
    study = make_study(2, labels={"base": HOSTILE, "chat": HOSTILE})
    run = tmp_path / "odd"
    make_run(run, study)
    write_runs(tmp_path)
    for path in (run / "index.html", tmp_path / "index.html"):
        text, page = path.read_text(), Page(path)
        assert page.scripts == 0
        assert "<b>bold" not in text
        assert "onmouseover=&#39;y" in text
        assert "&lt;b&gt;bold&lt;/b&gt;&amp;&lt;script&gt;" in text
        assert page.missing() == []


def test_a_name_that_no_page_is_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        page("runs.html.j2", title="without runs")


def test_pages_and_findings_need_no_matplotlib() -> None:
    modules = ["findings.page", "findings.gain", "findings.same_circuit", "findings.own_circuit"]
    modules += ["findings.same_functions", "findings.improved", "findings.rules"]
    modules += ["tables", "captions", "catalogue", "index_page", "runs_page", "study"]
    lines = [f"import entity_mech.reporting.{module}" for module in modules]
    lines += ["import sys", "print(*{'matplotlib', 'seaborn', 'torch'} & set(sys.modules))"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_captions_state_n_ablation_seed_and_interval() -> None:
    assert set(CAPTIONS) == set(BY_NAME)
    for name in CAPTIONS:
        text = caption(name, {**CONFIG, "seed": 12345})
        assert not set("{}") & set(text)
        assert "seed 12345" in text
        assert re.search(r"\bn( =|:)[^.;]* \d+", text)
        assert "ablat" in text or name == "overlap"
        assert "interval" in text


SWITCHES = [
    ("path_patching", {"path_patching": {"null_map": False}}, "null"),
    ("path_patching", {"path_patching": {"mode": "exact"}}, "first-order"),
    ("path_patching", {"path_patching": {"prompts": "all"}}, "answers correctly"),
    ("overlap", {"path_patching": {"prompts": "all"}}, "answers correctly"),
    ("faithfulness", {"faithfulness": {"random_circuits": 0}}, "Random"),
    ("faithfulness", {"cross_models": "base"}, "every circuit"),
    ("cmap", {"cmap": {"random_draws": 0}}, "Dots"),
    ("cmap", {"cmap": {"directions": ["into_base"]}}, "one model"),
    ("cmap_inputs", {"cmap": {"random_draws": 0}}, "Dots"),
    ("cmap_inputs", {"cmap": {"directions": ["into_fine_tuned"]}}, "one model"),
    ("dcm", {"dcm": {"desiderata": ["object"]}}, "label"),
]
ALL_ON = Config.model_validate({"path_patching": {"mode": "refined"}}).model_dump()


@pytest.mark.parametrize(("name", "given", "untrue"), SWITCHES)
def test_captions_say_nothing_that_the_config_switched_off(name: str, given: dict, untrue: str) -> None:
    switched = Config.model_validate(given).model_dump()
    assert untrue.lower() in caption(name, ALL_ON).lower()
    assert untrue.lower() not in caption(name, switched).lower()
    text = jinja2.Template(report_template(name)).render(snakemake=SimpleNamespace(config=switched))
    assert " ".join(text.split()) == caption(name, switched)


def test_captions_say_who_is_patched_and_in_what_searches_there_is_a_null() -> None:
    into_tuned = Config.model_validate({"cmap": {"directions": ["into_fine_tuned"]}}).model_dump()
    assert "Accuracy of the fine-tuned model when what chosen heads add to the stream is the base's" in caption(
        "cmap", into_tuned
    )
    assert "for searches that patch into the logits" in caption("path_patching", ALL_ON)
    assert "for searches" not in caption("path_patching", CONFIG)


@pytest.mark.parametrize("name", CAPTIONS)
def test_report_captions_render_to_the_same_words(name: str) -> None:
    text = jinja2.Template(report_template(name)).render(snakemake=SimpleNamespace(config=CONFIG))
    assert " ".join(text.split()) == caption(name, CONFIG)
    html = publish_parts(text, writer="html", settings_overrides={"report_level": 1, "halt_level": 1})["body"]
    assert html.strip().startswith("<p>")


@pytest.mark.parametrize("name", CAPTIONS)
def test_report_captions_are_the_written_ones(name: str) -> None:
    written = ROOT / "workflow" / "report" / f"{name}.rst"
    assert written.read_text() == report_template(name), (
        "run: python -m entity_mech.reporting.captions workflow/report"
    )


def test_every_question_has_its_section() -> None:
    assert set(ANSWERS.values()) == set(QUESTIONS)
    assert set(ANSWERS) <= set(SECTIONS)
    assert {SECTION_OF[family.name] for family in FAMILIES} == set(SECTIONS)


def test_study_from_a_config() -> None:
    study = Study.from_dict(study_values(Config()))
    assert study.base == "base"
    assert study.label("chat") == "chat (control)"
    assert study.group("A").receivers == ()
    assert ("value_fetcher", "k") in study.group("D").receivers


def test_study_takes_its_fine_tuned_models_from_the_config() -> None:
    models = [{"name": name, "path": name} for name in ("base", "stranger")]
    models += [{"name": "tuned", "path": "t", "base": "base"}, {"name": "again", "path": "a", "base": "tuned"}]
    models += [{"name": "other", "path": "o", "base": "stranger"}]
    config = Config.model_validate({"models": models, "base": "base", "seed": 7})
    study = Study.from_dict(study_values(config))
    assert study.fine_tuned == tuple(config.fine_tuned()) == ("tuned", "again")
    assert study.but_base == ("stranger", "tuned", "again", "other")
    assert study.seed == 7
    colors = {study.model_color(model) for model in study.models}
    assert len(colors) == 5
    assert all(re.fullmatch(r"#[0-9a-f]{6}", color) for color in colors)
