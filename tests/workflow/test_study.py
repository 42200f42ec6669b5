"""From the config to the pages: what a finished run leaves behind."""

import json
import re
import subprocess
import sys
from html import unescape
from urllib.parse import unquote

import pandas as pd
import yaml

from entity_mech.config.schema import Config
from entity_mech.reporting.markdown import escaped
from tests.helpers.reporting_columns import COLUMNS
from tests.helpers.study_copy import CONFIG, RESULTS, StudyCopy

MODELS = ["base", "lora"]
LABELS = [model.get("label", model["name"]) for model in CONFIG["models"]]
FIGURES = ("behaviour", "circuits/base", "circuits/lora", "path_patching/base", "path_patching/lora", "faithfulness")
FIGURES += ("dcm", "dcm_curves", "cmap")


def test_every_table_holds_both_models(finished: StudyCopy):
    for name in (
        "behaviour",
        "circuits",
        "path_patching",
        "faithfulness",
        "dcm",
        "dcm_curves",
        "dcm_heads",
        "models",
    ):
        table = pd.read_csv(finished.path(f"tables/{name}.csv"), keep_default_na=False)
        assert sorted(table["model"].unique()) == MODELS, name
    cmap = pd.read_csv(finished.path("tables/cmap.csv"))
    assert set(cmap["target"]) == set(MODELS)
    faithfulness = pd.read_csv(finished.path("tables/faithfulness.csv"))
    assert len(faithfulness[["model", "circuit"]].drop_duplicates()) == 4
    assert set(faithfulness["n"]) == {CONFIG["prompts"]["evaluation"]}


def test_circuits_are_part_of_their_candidates(finished: StudyCopy):
    for model in MODELS:
        circuit = json.loads(finished.path(f"circuits/{model}.json").read_text())
        assert [group["letter"] for group in circuit["groups"]] == ["A", "B", "C", "D"]
        for group in circuit["groups"]:
            heads, candidates = (
                {(head["layer"], head["head"]) for head in group[key]} for key in ("heads", "candidates")
            )
            assert heads <= candidates
        assert any(group["heads"] for group in circuit["groups"])


def test_the_tiny_models_are_seen_to_track_entities(finished: StudyCopy):
    table = pd.read_csv(finished.path("tables/behaviour.csv"))
    accuracy = table[table["metric"] == "accuracy"].set_index("model")["value"]
    assert accuracy["lora"] > accuracy["base"] > 2 / 7
    faithfulness = pd.read_csv(finished.path("tables/faithfulness.csv")).query("model == circuit")
    for _, own in faithfulness.groupby("model"):
        by_kind = own.groupby("kind")["accuracy"].mean()
        assert by_kind["circuit"] > by_kind["random"]


def test_tables_that_unit_tests_make_up_have_the_columns_of_real_ones(finished: StudyCopy):
    for name, columns in COLUMNS.items():
        path = finished.path(f"tables/{name}.csv")
        if path.exists():  # the small study leaves some stages out
            assert list(pd.read_csv(path)) == columns, name
    assert finished.path("tables/cmap.csv").exists()


def test_every_figure_stands_beside_its_table(finished: StudyCopy):
    for name in FIGURES:
        assert finished.path(f"figures/{name}.png").read_bytes().startswith(b"\x89PNG"), name
        assert len(finished.path(f"figures/{name}.csv").read_text().splitlines()) > 1, name


def test_the_findings_are_about_both_models(finished: StudyCopy):
    text = finished.path("findings.md").read_text()
    for label in LABELS:
        name = escaped(label)
        assert f"**{name}**" in text
        assert re.search(rf"[Tt]he circuit of {re.escape(name)} \(\d+ heads\) recovers \d+% \[", text)
    table = pd.read_csv(finished.path("tables/findings.csv"))
    assert len(table) > 10
    assert "nan" not in text


def test_every_link_of_the_pages_leads_to_a_file(finished: StudyCopy):
    for page in (finished.path("index.html"), finished.folder / "results/index.html"):
        text = page.read_text()
        targets = [unquote(unescape(found)) for found in re.findall(r'(?:href|src)="([^"]+)"', text)]
        files = [target.partition("#")[0] for target in targets if not target.startswith(("#", "data:"))]
        assert len(files) > (20 if page.parent.name == "small" else 0)
        assert [file for file in files if not (page.parent / file).exists()] == []
    assert "report.html" in finished.path("index.html").read_text()


def test_the_report_holds_every_figure(finished: StudyCopy):
    text = finished.path("report.html").read_text()
    assert "http://" not in text.partition("<script")[0]
    for name in FIGURES:
        assert f"{name.split('/')[-1]}.png" in text, name
    for words in ("What fine-tuning improved", "Path-patching scores", "Functions"):
        assert words in text


def test_every_job_left_a_log_and_a_benchmark(finished: StudyCopy):
    logs = {path.with_suffix("").relative_to(finished.path("logs")) for path in finished.path("logs").rglob("*.log")}
    times = {
        path.with_suffix("").relative_to(finished.path("benchmarks"))
        for path in finished.path("benchmarks").rglob("*.tsv")
    }
    assert logs == times
    assert len(logs) > 40
    said = finished.path("logs/path_patch/base.log").read_text()
    assert re.search(r"\(100%\)|100%", said)
    assert re.search(r"at most \d+ MB on cpu", said)


def test_the_resolved_config_is_the_configs(finished: StudyCopy):
    resolved = yaml.safe_load(finished.path("config.resolved.yaml").read_text())
    assert resolved["prompts"] == CONFIG["prompts"]
    assert [model["name"] for model in resolved["models"]] == MODELS
    assert resolved["dcm"]["ties"] == Config().dcm.ties  # a default


def test_no_result_names_a_place_and_nothing_temporary_is_left(finished: StudyCopy):
    """A run can be copied elsewhere, and two runs in two places have the same files."""
    folder = str(finished.folder).encode()
    assert [name for name, content in finished.contents().items() if folder in content] == []
    assert [name for name in finished.dates() if "tmp" in name or "partial" in name] == []


def test_status_tells_that_all_is_done(finished: StudyCopy):
    command = [sys.executable, "workflow/status.py", "--configfile", "study.yaml"]
    done = subprocess.run(command, cwd=finished.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(RESULTS)
    assert re.search(r"^\d+ jobs done, 0 to do$", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^path_patch +2 +0 +\d", done.stdout, re.MULTILINE), done.stdout


def test_a_hostile_label_is_text_on_every_page(finished: StudyCopy):
    label = CONFIG["models"][0]["label"]
    assert "</script>" in label
    for page in ("report.html", "index.html", "findings.md"):
        assert label not in finished.path(page).read_text(), page
    assert "&lt;/script&gt;&lt;b&gt;$x^{$" in finished.path("index.html").read_text()
    assert "&lt;/script&gt;&lt;b&gt;\\$x^{\\$" in finished.path("findings.md").read_text()
    assert finished.path("report.html").read_text().count("u003c/script>") >= 5
