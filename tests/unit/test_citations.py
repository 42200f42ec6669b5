"""What the code and the documents cite is there: sections of docs/method.md and of the paper, links, files."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from entity_mech.stages.table import JOBS, STAGES

ROOT = Path(__file__).parents[2]
METHOD = (ROOT / "docs/method.md").read_text()
FOLDERS = ("entity_mech", "workflow", "tests", "benchmarks", "config", "docs", "demo_models", "published")
SUFFIXES = (".py", ".smk", ".md", ".rst", ".yaml", ".sh", ".html", ".css", ".j2")
# Files that a text tells its reader to write.
EXAMPLES = {"config/mine.yaml"}

NUMBERS = r"\d+(?:\.\d+)*(?:(?:, | and | to )\d+(?:\.\d+)*)*"
CITATION = re.compile(rf"\b(method|paper)(?:\.md)?, (?:sections?|(?=\d)) ?({NUMBERS})")
MALFORMED = re.compile(r"\b(?:method|paper)(?:\.md)?, \d")


def texts() -> Iterator[tuple[str, str]]:
    """Every text that people write, but this file with its made-up ones: its path and its content."""
    for name in ("README.md", "Makefile", "workflow/Snakefile"):
        yield name, (ROOT / name).read_text()
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file() and path != Path(__file__):
                yield str(path.relative_to(ROOT)), path.read_text()


def on_one_line(text: str) -> str:
    """The text without line breaks and the comment marks after them."""
    return re.sub(r"\s*\n\s*(?:# ?)?", " ", text)


def cited(text: str) -> list[tuple[str, str]]:
    """(method or paper, section) for each section that a text cites."""
    found = CITATION.findall(on_one_line(text))
    return [(source, number) for source, numbers in found for number in re.findall(r"\d+(?:\.\d+)*", numbers)]


def sections_of_method() -> set[str]:
    return set(re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", METHOD, re.MULTILINE))


def sections_of_paper() -> set[str]:
    """The first column of the table whose head is `paper, section`."""
    table = re.search(r"^\| paper, section .*\n((?:\|.*\n)+)", METHOD, re.MULTILINE)
    assert table is not None
    return set(re.findall(r"^\| (\d+(?:\.\d+)*) ", table[1], re.MULTILINE))


def unknown_sections(text: str) -> list[str]:
    """Citations in a text that lead nowhere, or that do not say `section`."""
    known = {"method": sections_of_method(), "paper": sections_of_paper()}
    wrong = [f"{source}, section {number}" for source, number in cited(text) if number not in known[source]]
    return wrong + MALFORMED.findall(on_one_line(text))


def test_the_sections_are_numbered_through():
    whole = sorted(int(number) for number in sections_of_method() if "." not in number)
    assert whole == list(range(1, len(whole) + 1))
    assert len(whole) >= 10
    assert len(sections_of_paper()) >= 4


def test_every_cited_section_is_there():
    found = {path: unknown_sections(text) for path, text in texts()}
    assert {path: wrong for path, wrong in found.items() if wrong} == {}
    assert sum(len(cited(text)) for path, text in texts() if path.startswith("entity_mech")) >= 40


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("(method, section 4, pass 1; paper, section 4)", []),
        ("(method, sections 5 and 6)", []),
        ("(method, section 4.2)", []),
        ("(method,\n# section 99)", ["method, section 99"]),
        ("(method, sections 5 and 77)", ["method, section 77"]),
        ("(method, section 4.9)", ["method, section 4.9"]),
        ("(paper, section 2.2)", ["paper, section 2.2"]),
        ("(method, 8)", ["method, 8"]),
    ],
)
def test_a_wrong_citation_is_found(text, wrong):
    assert unknown_sections(text) == wrong


def documents() -> list[Path]:
    """What people read."""
    return [
        ROOT / "README.md",
        ROOT / "config/README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "demo_models").rglob("README.md")),
    ]


def broken_links(text: str, folder: Path) -> list[str]:
    """Relative links that lead to no file, or to no heading of their file."""
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        if re.match(r"\w+:", target):
            continue
        found = (folder / name).exists()
        if found and anchor:
            found = anchor in anchors((folder / name).read_text() if name else text)
        if not found:
            wrong.append(target)
    return wrong


def anchors(text: str) -> set[str]:
    """What links can name in a document: its headings in lower case, blanks as dashes."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_files(text: str) -> list[str]:
    """Paths inside the repository that a text sets as code and that are not there; `{...}` stands for any name."""
    code = re.findall(r"^```.*?^```|`[^`\n]+`", text, re.MULTILINE | re.DOTALL)
    words = [word.strip("`,;:()'\"") for piece in code for word in re.split(r"[\s=]+", piece)]
    return [word for word in dict.fromkeys(words) if is_path(word) and word not in EXAMPLES and not there(word)]


def is_path(word: str) -> bool:
    inside = word.startswith(tuple(f"{folder}/" for folder in FOLDERS))
    return inside or bool(re.fullmatch(r"[\w./{}*-]+\.(py|smk)", word))


def there(word: str) -> bool:
    """A path from the root; a bare name of a file of code may lie anywhere."""
    pattern = re.sub(r"{[^}]*}", "*", word).rstrip("/")
    if "/" in word:
        return any(ROOT.glob(pattern))
    return any(found for folder in FOLDERS for found in (ROOT / folder).rglob(pattern))


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_is_there(path):
    text = path.read_text()
    assert broken_links(text, path.parent) == []
    assert missing_files(text) == []


def test_documents_that_the_code_names_are_there():
    named = {(path, name) for path, text in texts() for name in re.findall(r"\bdocs/[\w-]+\.md\b", text)}
    assert len(named) >= 5
    assert [(path, name) for path, name in named if not (ROOT / name).is_file()] == []


def test_a_missing_file_or_link_is_found():
    gone = "entity_mech/" + "gone.py"
    assert missing_files(f"see `{gone}` and `config/config.yaml`, `python {gone} x`") == [gone]
    assert missing_files("`entity_mech/methods/{name}.py` and `workflow/rules/*.smk`, `pruning.py`") == []
    assert missing_files("`nowhere_" + "at_all.py`") == ["nowhere_" + "at_all.py"]
    assert missing_files("`results/{run}/models/{model}/model.json`") == []
    text = (
        "[a](docs/method.md#4-path-patching) [b](docs/method.md#41-nothing) [c](no/" + "where.md) [d](https://x.org)"
    )
    assert broken_links(text, ROOT) == ["docs/method.md#41-nothing", "no/" + "where.md"]


def test_the_walk_of_the_data_names_every_rule():
    """The first column of the first table in docs/architecture.md, against the table of stages."""
    table = re.search(
        r"^\| rule \|.*\n\|[-|]+\n((?:\|.*\n)+)", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE
    )
    assert table is not None
    named = {rule for row in table[1].splitlines() for rule in re.findall(r"`(\w+\*?)`", row.split("|")[1])}
    optional = {rule for stage in STAGES if stage.optional for rule in stage.jobs}
    assert named - {"draw_*"} <= set(JOBS)
    assert set(JOBS) - named - optional == {"draw"}
