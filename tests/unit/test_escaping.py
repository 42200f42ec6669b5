"""Hostile labels, words and sentences: shown as they are on every page and in every figure, and followed nowhere."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.text import Text
from snakemake.report.html_reporter.data.results import render_results

from entity_mech.config.schema import Config
from entity_mech.files import write_table
from entity_mech.reporting import render
from entity_mech.reporting.findings.page import findings_markdown, summary_table
from entity_mech.reporting.index_page import write_index
from entity_mech.reporting.markdown import bullet, by_role, escaped
from entity_mech.reporting.runs_page import write_runs
from entity_mech.reporting.study import Study, as_param
from entity_mech.reporting.style import save_drawing
from entity_mech.reporting.tables import models_table
from tests.helpers.reporting_answers import LIMITS, found_in, with_answers
from tests.helpers.reporting_figures import NAMES, gallery
from tests.helpers.reporting_study import make_study
from tests.helpers.reporting_tables import SMALL, run_tables

SCRIPT = "</script><img src=x onerror=alert(1)>"
LABELS = {"base": f"$x^{{$ {SCRIPT}", "chat": "**b** | `c` [d](javascript:alert(1)) {{ 7 * 7 }} \\frac & <b>"}
TASK = {
    "template": "<i>the</i> {object} is in $Box^ {label}",
    "query": "Box {label} | contains <b>",
    "objects": ["$x^$", "<img>", "`key`", *(f"w{letter}" for letter in "abcdefghijklmn")],
}
STUDY: Study = make_study(2, labels=LABELS, task=TASK)
FIGURES = gallery(STUDY, 4, 4, SMALL)


class Tags(HTMLParser):
    """The tags of a page that no label may add, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attributes}
        if (tag in ("script", "b", "i") and not names) or "onerror" in names:
            self.found.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of a run whose models have hostile labels."""
    results = tmp_path_factory.mktemp("results")
    run, given = results / "tiny", with_answers(run_tables(STUDY))
    findings = found_in(STUDY, given)
    run.mkdir()
    (run / "findings.md").write_text(findings_markdown(STUDY, findings, "tiny", LIMITS))
    write_table(run / "tables/models.csv", models_table(STUDY, given, summary_table(STUDY, findings)))
    write_index(run, STUDY, {**Config().model_dump(), "run": "tiny"}, given)
    write_runs(results)
    return results


@pytest.mark.parametrize("name", ["tiny/index.html", "index.html"])
def test_labels_are_text_on_the_pages(pages: Path, name: str) -> None:
    page = Tags((pages / name).read_text())
    assert page.found == []
    assert all(label in page.text for label in LABELS.values())


def test_labels_are_text_in_the_findings(pages: Path) -> None:
    text = (pages / "tiny/findings.md").read_text()
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    assert not re.search(r"(?<!\\)\$", text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}


@pytest.mark.parametrize("name", NAMES)
def test_figures_show_labels_and_words_as_they_are(name: str, tmp_path: Path) -> None:
    drawing = FIGURES[name]()
    save_drawing(drawing, tmp_path / name, ("png", "svg"), 40)
    texts = drawing.figure.findobj(Text)
    assert not any(text.get_parse_math() for text in texts if "$" in text.get_text())
    assert "<img" not in (tmp_path / f"{name}.svg").read_text()


def test_some_figures_show_the_labels() -> None:
    shown = "\n".join(text.get_text() for text in FIGURES["circuit_size"]().figure.findobj(Text))
    assert all(label in shown for label in LABELS.values())


def test_a_figures_study_cannot_end_the_reports_script() -> None:
    """Snakemake's own page of results, with the params of a figure's rule as Snakemake writes them."""
    values = {"models": ["base"], "labels": {"base": SCRIPT}, "base": "base", "fine_tuned": [], "groups": []}
    rule = SimpleNamespace(name="draw_behaviour")
    result = SimpleNamespace(
        id="1", path="x.png", name="x", filename="x.png", labels={}, size=1, caption="", mime="", wildcards="",
        params=f"study={as_param(values)}", job=SimpleNamespace(rule=rule),
    )  # fmt: skip
    assert "<" not in render_results({"a": {"b": [result]}}, False)
    assert Study.from_param(as_param(values)).label("base") == SCRIPT
    assert json.loads(as_param({"<": "<>&"})["json"]) == {"<": "<>&"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("</b> & `c` <i>", "&lt;/b&gt; &amp; `c` &lt;i&gt;"),
        ("` <b> ``", r"\` &lt;b&gt; \`\`"),
        (r"\`<b>`", r"\\\`&lt;b&gt;\`"),
        ("[a](b) [c][d] [e]: f [64%, 90%]", r"[a\](b) [c\][d] [e\]: f [64%, 90%]"),
        ("*a* _b_ a_b ~c~ $d$ e|f", r"\*a\* \_b\_ a_b \~c\~ \$d\$ e\|f"),
        ("two\nlines", "two lines"),
        ("at `previous_label` and `a, b`", "at `previous_label` and `a, b`"),
    ],
)
def test_markdown_is_shown_and_not_followed(text: str, said: str) -> None:
    assert escaped(text) == said
    assert bullet(text) == f"- {said}"


@pytest.mark.parametrize("text", ["# heading", "- list", "+ list", "=== line"])
def test_a_bullets_text_begins_nothing(text: str) -> None:
    assert bullet(text) == f"- \\{text}"


def test_roles_between_backticks_are_told_from_other_text():
    text = "falls at `label` and `query_label`, not at `<b>`"
    assert by_role(text) == [
        ("falls at ", False), ("`label`", True), (" and ", False), ("`query_label`", True), (", not at `<b>`", False)
    ]  # fmt: skip
    assert "".join(part for part, _ in by_role(text)) == text


def test_on_narrow_screens_figures_stand_above_their_captions():
    """The rule for narrow screens overrides what stands before it only."""
    css = (Path(render.__file__).parent / "templates/page.css").read_text()
    narrow = css.index("@media (max-width")
    for selector in (".said {", ".gallery > figure:only-child {"):
        assert css.index(selector) < narrow
        assert selector.split(" {")[0] in css[narrow:]
