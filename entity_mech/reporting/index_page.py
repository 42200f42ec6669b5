"""results/{run}/index.html: what was found, by which models and figures, and where the files lie.

One static page: no server, no network, no script. Links are relative, so that a copied folder works by double click.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from matplotlib.colors import to_hex

from entity_mech.files import write_text
from entity_mech.reporting import markup
from entity_mech.reporting.captions import caption
from entity_mech.reporting.catalogue import ANSWERS, FAMILIES, SECTIONS, Family
from entity_mech.reporting.figures.faithfulness import faithfulness_table
from entity_mech.reporting.finding import LEFT_OUT, Finding, Tables, first
from entity_mech.reporting.findings import QUESTIONS, SHORT_QUESTIONS, find, left_out, summary_table
from entity_mech.reporting.study import Study, in_order

MODELS_COLUMNS = [
    "model", "label", "color", "accuracy", "accuracy_low", "accuracy_high", "heads", "heads_by_group",
    "faithfulness", "faithfulness_low", "faithfulness_high", "base_circuit", "base_circuit_low", "base_circuit_high",
]  # fmt: skip


def models_table(study: Study, tables: Tables, findings: Sequence[Finding]) -> pd.DataFrame:
    """One row a model: accuracy, size of its circuit, faithfulness of its own circuit and of the base's, answers.

    The short answers to the questions are empty for the base.

    tables: behaviour, circuits (tables/circuits.csv), faithfulness.
    """
    faith, circuits = faithfulness_table(tables["faithfulness"]), tables["circuits"]
    kept = circuits[circuits["kept"].astype(str).str.lower().isin(("true", "1"))]
    rows = []
    for model in study.models:
        row: dict[str, object] = {
            "model": model,
            "label": study.label(model),
            "color": to_hex(study.model_color(model)),
        }
        own = first(tables["behaviour"], model=model, metric="accuracy")
        if own is not None:
            row |= {"accuracy": own["value"], "accuracy_low": own["low"], "accuracy_high": own["high"]}
        heads = kept[kept["model"] == model]
        counts = [f"{letter} {int((heads['letter'] == letter).sum())}" for letter in study.letters]
        row |= {"heads": len(heads), "heads_by_group": ", ".join(counts)}
        for name, circuit in (("faithfulness", model), ("base_circuit", study.base)):
            found = first(faith, model=model, circuit=circuit)
            if found is not None:
                row |= {f"{name}{end}": found[f"faithfulness{end}"] for end in ("", "_low", "_high")}
        rows.append(row)
    table = pd.DataFrame(rows).reindex(columns=MODELS_COLUMNS)
    return table.merge(summary_table(study, findings), on="model", how="left")


def figures_of(run: Path, family: Family, models: Sequence[str]) -> list[tuple[str, str]]:
    """(model or "", stem relative to the run) of the family's figures that are there."""
    wanted = [(m, family.stem.format(model=m)) for m in models] if family.per_model else [("", family.stem)]
    stems = [(model, f"figures/{stem}") for model, stem in wanted]
    return [(model, stem) for model, stem in stems if (run / f"{stem}.png").is_file()]


def write_index(
    run: Path, study: Study, config: Mapping[str, Any], tables: Tables, report: bool = True, skip: Sequence[str] = ()
) -> None:
    """Write index.html into the run's folder.

    run: results/{run}, with figures, tables and logs in place. config: the resolved config. tables: as for `find`,
    and `circuits`. report: link to report.html, which is made last. skip: rules whose logs are left out.
    """
    findings = find(study, tables)
    parts = [
        _head(run, study, config, report),
        _findings(study, findings),
        _models(run, study, models_table(study, tables, findings)),
        *(_section(run, study, config, findings, name) for name in SECTIONS),
        _files(run, skip),
    ]
    write_text(run / "index.html", markup.page(f"{config['run']}: entity tracking", "\n".join(parts)))


def _head(run: Path, study: Study, config: Mapping[str, Any], report: bool) -> str:
    others = len(study.finetuned)
    about = (
        f"Base: {escape(study.label(study.base))}; {others} fine-tuned model{'' if others == 1 else 's'}; scenes of "
        f"{study.boxes} boxes, chance 1/{study.boxes}; {config['prompts']['evaluation']} evaluation prompts; seed "
        f"{config['seed']}. Brackets: 95% intervals over scenes."
    )
    links = [markup.link("#findings", "Findings"), markup.link("#models", "Models")]
    links += [markup.link(f"#{name}", title) for name, title in _shown_sections(run, study).items()]
    links.append(markup.link("#files", "Files"))
    if report:
        links.append(markup.link("report.html", "Report with provenance"))
    title = f"Entity tracking: {escape(str(config['run']))}"
    return f"<h1>{title}</h1>\n{markup.tag('p', about, class_='meta')}\n{markup.tag('nav', ' '.join(links))}"


def _shown_sections(run: Path, study: Study) -> dict[str, str]:
    short = {
        "behaviour": "Accuracy",
        "circuit": "Circuits",
        "functions": "Functions",
        "improved": "Improvement",
        "heads": "Attention",
    }
    there = {family.section for family in FAMILIES if figures_of(run, family, study.models)}
    return {name: title for name, title in short.items() if name in there}


def _findings(study: Study, findings: Sequence[Finding]) -> str:
    parts = ['<h2 id="findings">Findings</h2>']
    short = summary_table(study, findings)
    if len(short):
        rows = [
            [_named(study, row["model"]), *(escape(str(row[name])) for name in QUESTIONS)]
            for _, row in short.iterrows()
        ]
        parts.append(markup.table(["", *SHORT_QUESTIONS.values()], rows))
    note = (
        "Each answer is made from the tables and their intervals; the sentences stand by the figures below, and the"
    )
    parts.append(markup.tag("p", f"{note} rules in {markup.link('findings.md', 'findings.md')}.", class_="meta"))
    if missing := left_out(findings):
        parts.append(markup.tag("p", escape(" ".join(missing)), class_="meta"))
    return "\n".join(parts)


def _sentences(study: Study, findings: Sequence[Finding], question: str) -> str:
    own = [one for one in findings if one.question == question and one.answer != LEFT_OUT]
    blocks = []
    for model in in_order((one.model for one in own), study.models):
        items = "".join(markup.tag("li", escape(one.text)) for one in own if one.model == model)
        who = markup.tag("p", _named(study, model), class_="who")
        blocks.append(markup.tag("div", who + markup.tag("ul", items, class_="sentences")))
    return markup.tag("div", "\n".join(blocks), class_="said") if blocks else ""


def _named(study: Study, model: str) -> str:
    return markup.tag(
        "span", markup.swatch(to_hex(study.model_color(model))) + escape(study.label(model)), class_="keep"
    )


def _models(run: Path, study: Study, table: pd.DataFrame) -> str:
    def to(family: str, text: str, model: str = "") -> str:
        stem = next(one.stem for one in FAMILIES if one.name == family).format(model=model)
        path = f"figures/{stem}.png"
        return f'<a href="{quote(path)}">{text}</a>' if (run / path).is_file() else text

    head = ["", "accuracy", "heads in its circuit", "by group", "its circuit's faithfulness", "the base's circuit's"]
    rows = []
    for _, row in table.iterrows():
        model = str(row["model"])
        numbers = [
            markup.ranged(row[name], row[f"{name}_low"], row[f"{name}_high"])
            for name in ("accuracy", "faithfulness", "base_circuit")
        ]
        rows.append(
            [
                _named(study, model) + (" (base)" if model == study.base and study.label(model) != "base" else ""),
                to("behaviour", numbers[0]),
                to("circuits", str(row["heads"]), model),
                escape(str(row["heads_by_group"])),
                to("faithfulness", numbers[1]),
                to("faithfulness", numbers[2]),
            ]
        )
    note = "Faithfulness: accuracy of the circuit alone over that of the whole model. Numbers lead to their figures."
    return f'<h2 id="models">Models</h2>\n{markup.table(head, rows)}\n{markup.tag("p", note, class_="meta")}'


def _section(run: Path, study: Study, config: Mapping[str, Any], findings: Sequence[Finding], name: str) -> str:
    single, families = [], []
    for family in (one for one in FAMILIES if one.section == name):
        found = figures_of(run, family, study.models)
        if found and family.per_model:
            shown = "\n".join(_figure(run, stem, study.label(model), "") for model, stem in found)
            text = markup.tag("p", escape(caption(family.name, config)))
            gallery = markup.tag("div", shown, class_="gallery small")
            families.append(markup.tag("div", f"<h3>{escape(family.title)}</h3>{text}{gallery}", class_="family"))
        elif found:
            single.append(_figure(run, found[0][1], family.title, caption(family.name, config)))
    said = _sentences(study, findings, ANSWERS.get(name, ""))
    if not (single or families or said):
        return ""
    body = markup.tag("div", "\n".join(single), class_="gallery") if single else ""
    return f'<h2 id="{name}">{escape(SECTIONS[name])}</h2>\n{said}\n{body}\n' + "\n".join(families)


def _figure(run: Path, stem: str, title: str, text: str) -> str:
    png = f"{stem}.png"
    endings = [ending for ending in ("pdf", "svg", "csv") if (run / f"{stem}.{ending}").is_file()]
    links = " · ".join(markup.link(f"{stem}.{end}", "table" if end == "csv" else end.upper()) for end in endings)
    image = f'<img src="{quote(png)}" alt="{escape(title)}" loading="lazy">'
    shown = f'<a class="thumb" href="{quote(png)}">{image}</a>'
    words = f"<b>{escape(title)}</b> {escape(text)} {links}"
    return markup.tag("figure", shown + markup.tag("figcaption", words))


def _files(run: Path, skip: Sequence[str]) -> str:
    parts = ['<h2 id="files">Files</h2>']
    top = [name for name in ("config.resolved.yaml", "findings.md") if (run / name).is_file()]
    parts.append(markup.file_list(top))
    for title, folder, pattern in (
        ("Tables", "tables", "*.csv"),
        ("Circuits", "circuits", "*.json"),
        ("Dataset", "dataset", "*.jsonl"),
        ("Logs", "logs", "**/*.log"),
    ):
        paths = sorted(path.relative_to(run).as_posix() for path in (run / folder).glob(pattern) if path.is_file())
        paths = [path for path in paths if Path(path).parts[1].removesuffix(".log") not in skip]
        if paths:
            listed = markup.file_list(paths, 1)
            parts.append(f"<details><summary>{title} ({len(paths)})</summary>{listed}</details>")
    return "\n".join(parts)
