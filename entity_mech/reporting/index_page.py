"""results/{run}/index.html: what was found, by which models and figures, and where the files lie.

One static page: no server, no network, no script. Links are relative, so that a copied folder works by double click.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from entity_mech.files import write_text
from entity_mech.reporting.captions import caption
from entity_mech.reporting.catalogue import ANSWERS, BY_NAME, FAMILIES, SECTION_OF, SECTIONS
from entity_mech.reporting.findings.finding import LEFT_OUT, Finding
from entity_mech.reporting.findings.limits import Limits
from entity_mech.reporting.findings.page import SHORT_QUESTIONS, find, left_out, rules_of, summary_table
from entity_mech.reporting.render import page
from entity_mech.reporting.study import Study, in_order
from entity_mech.reporting.tables import Tables, models_table
from entity_mech.stages.stage import Figure

SHORT_SECTIONS = {
    "behaviour": "Accuracy",
    "circuit": "Circuits",
    "functions": "Functions",
    "improved": "Improvement",
    "heads": "Attention",
}
FILES = (
    ("Tables", "tables", "*.csv"),
    ("Circuits", "circuits", "*.json"),
    ("Dataset", "dataset", "*.jsonl"),
    ("Logs", "logs", "**/*.log"),
)


def write_index(
    run: Path,
    study: Study,
    config: Mapping[str, Any],
    tables: Tables,
    report: bool = True,
    skip: Sequence[str] = (),
    drawn: Sequence[str] | None = None,
) -> None:
    """Write index.html into the run's folder.

    run: results/{run}, with figures, tables and logs in place. config: the resolved config. tables: as for `find`,
    and `circuits`. report: link to report.html, which is made last. skip: rules whose logs are left out. drawn: files
    of the run's figures; others in the folder are an earlier config's and are left out (None: there are none).
    """
    there = _figures_there(run, drawn)
    limits = Limits.of(config["findings"])
    findings = find(study, tables, limits)
    answers = summary_table(study, findings)
    models = models_table(study, tables, answers).to_dict("records")
    text = page(
        "index.html.j2",
        title=f"{config['run']}: entity tracking",
        run=config["run"],
        study=study,
        config=config,
        report=report,
        questions=SHORT_QUESTIONS,
        answers=answers.to_dict("records"),
        missing=left_out(findings),
        rules=rules_of(study, findings, limits),
        models=[{**row, "figures": _figures_of_model(there, str(row["model"]))} for row in models],
        sections=[_section(run, study, config, findings, there, name) for name in SECTIONS],
        top_files=[name for name in ("config.resolved.yaml", "findings.md") if (run / name).is_file()],
        files=_files(run, skip),
    )
    write_text(run / "index.html", text)


def _figures_there(run: Path, drawn: Sequence[str] | None) -> set[str]:
    """Paths of the PNG files of figures, relative to the run."""
    there = {path.relative_to(run).as_posix() for path in (run / "figures").rglob("*.png")}
    return there if drawn is None else there & {Path(file).relative_to(run).as_posix() for file in drawn}


def figures_of(there: Collection[str], family: Figure, models: Sequence[str]) -> list[tuple[str, str]]:
    """(model or "", stem relative to the run) of the family's figures that are there. there: their PNG files."""
    wanted = [(m, family.stem.format(model=m)) for m in models] if family.per_model else [("", family.stem)]
    stems = [(model, f"figures/{stem}") for model, stem in wanted]
    return [(model, stem) for model, stem in stems if f"{stem}.png" in there]


def _figures_of_model(there: Collection[str], model: str) -> dict[str, str]:
    """Paths of the figures that a model's numbers lead to; empty where a figure is not there."""
    found = {name: figures_of(there, BY_NAME[name], [model]) for name in ("behaviour", "circuits", "faithfulness")}
    return {name: f"{stems[0][1]}.png" if stems else "" for name, stems in found.items()}


def _section(
    run: Path,
    study: Study,
    config: Mapping[str, Any],
    findings: Sequence[Finding],
    there: Collection[str],
    name: str,
) -> dict[str, Any]:
    """A question with its sentences and figures; figures of single models stand together by family."""
    single, families = [], []
    for family in (one for one in FAMILIES if SECTION_OF[one.name] == name):
        found = figures_of(there, family, study.models)
        if found and family.per_model:
            shown = [_figure(run, stem, study.label(model), "") for model, stem in found]
            families.append({"title": family.title, "caption": caption(family.name, config), "figures": shown})
        elif found:
            single.append(_figure(run, found[0][1], family.title, caption(family.name, config)))
    return {
        "name": name,
        "title": SECTIONS[name],
        "short": SHORT_SECTIONS[name],
        "sentences": _sentences(study, findings, ANSWERS.get(name, "")),
        "figures": single,
        "families": families,
        "has_figures": bool(single or families),
    }


def _sentences(study: Study, findings: Sequence[Finding], question: str) -> list[tuple[str, list[str]]]:
    """(model, its sentences) on a question, in the order of the models."""
    own = [one for one in findings if one.question == question and one.answer != LEFT_OUT]
    models = in_order((one.model for one in own), study.models)
    return [(model, [one.text for one in own if one.model == model]) for model in models]


def _figure(run: Path, stem: str, title: str, text: str) -> dict[str, Any]:
    endings = [ending for ending in ("pdf", "svg", "csv") if (run / f"{stem}.{ending}").is_file()]
    others = [(f"{stem}.{end}", "table" if end == "csv" else end.upper()) for end in endings]
    return {"png": f"{stem}.png", "title": title, "caption": text, "others": others}


def _files(run: Path, skip: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(what, paths relative to the run) of files in folders that have some."""
    found = []
    for title, folder, pattern in FILES:
        paths = sorted(path.relative_to(run).as_posix() for path in (run / folder).glob(pattern) if path.is_file())
        paths = [path for path in paths if Path(path).parts[1].removesuffix(".log") not in skip]
        if paths:
            found.append((title, paths))
    return found
