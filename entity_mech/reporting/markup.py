"""Small pieces of HTML, and the style of the pages. No scripts, no fonts or files from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

CSS = """
:root { --ink: #1f2328; --faint: #667; --line: #dcdfe4; --link: #0b5394; --paper: #fff; --wash: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--paper);
  font: 16px/1.55 Charter, "Bitstream Charter", "Iowan Old Style", Georgia, "DejaVu Serif", serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2.2rem 1.5rem 5rem; }
h1, h2, h3, table, nav, figcaption, .meta, summary, .files { font-family: system-ui, "Segoe UI", Helvetica, Arial,
  "DejaVu Sans", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 3rem 0 .8rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: 2px; }
.meta { color: var(--faint); font-size: .875rem; margin: 0 0 1rem; }
nav { font-size: .875rem; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: 1rem 0 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; margin: .6rem 0 1rem; }
th, td { padding: .38rem .9rem .38rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--faint); border-bottom: 1px solid #b5bac2; }
td { font-variant-numeric: tabular-nums; }
.keep { white-space: nowrap; }
.range { color: var(--faint); }
.swatch { display: inline-block; width: .7em; height: .7em; border-radius: 2px; margin-right: .5em; }
.said { display: grid; grid-template-columns: repeat(auto-fill, minmax(27rem, 1fr)); gap: .2rem 2.4rem;
  margin: 0 0 1.6rem; }
ul.sentences { margin: .2rem 0 .9rem; padding-left: 1.1rem; font-size: .92rem; line-height: 1.5; }
ul.sentences li { margin: .18rem 0; }
.who { font: 600 .8rem/1.4 system-ui, "Segoe UI", Helvetica, Arial, "DejaVu Sans", sans-serif; margin: .6rem 0 0; }
@media (max-width: 44rem) { .said, .gallery > figure:only-child { grid-template-columns: 1fr; } }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1.6rem 1.8rem;
  align-items: start; }
.gallery.small { grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem 1.4rem; }
figure { margin: 0; }
.gallery > figure:only-child { display: grid; grid-template-columns: 3fr 2fr; gap: 1.8rem; grid-column: 1 / -1; }
.gallery > figure:only-child figcaption { margin-top: 0; }
.gallery > figure:only-child .thumb img { max-height: 26rem; }
.thumb { display: block; border: 1px solid var(--line); background: #fff; padding: .6rem; }
.thumb:hover, .thumb:focus { border-color: var(--link); }
.thumb img { display: block; margin: auto; max-width: 100%; max-height: 17rem; }
.small .thumb img { max-height: 14rem; }
figcaption { font-size: .8rem; line-height: 1.45; margin-top: .5rem; color: #444b55; }
figcaption b { color: var(--ink); display: block; font-size: .875rem; }
.family { margin: 0 0 2rem; }
.family > p { font-size: .8rem; line-height: 1.45; color: #444b55; margin: .1rem 0 .8rem; max-width: 52rem;
  font-family: system-ui, "Segoe UI", Helvetica, Arial, "DejaVu Sans", sans-serif; }
details { margin: .5rem 0; }
summary { cursor: pointer; font-size: .9rem; font-weight: 600; }
.files { font-size: .82rem; columns: 16rem; column-gap: 2rem; list-style: none; padding: 0; margin: .5rem 0 1rem; }
.files li { break-inside: avoid; margin: .1rem 0; overflow-wrap: anywhere; }
@media print { nav { display: none; } details > * { display: block; } .thumb { break-inside: avoid; } }
"""


def page(title: str, body: str) -> str:
    """A whole page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def link(path: str, text: str) -> str:
    """A link to a file beside or below the page, or to a place in it."""
    target = path if path.startswith("#") else quote(path)
    return f'<a href="{escape(target)}">{escape(text)}</a>'


def tag(name: str, content: str, **attributes: str) -> str:
    """An element around finished HTML. `class_` is the class."""
    given = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{given}>{content}</{name}>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; head is text, cells are HTML."""
    top = tag("tr", "".join(tag("th", escape(text)) for text in head))
    body = "\n".join(tag("tr", "".join(tag("td", cell) for cell in row)) for row in rows)
    return tag("div", f"<table>\n<thead>{top}</thead>\n<tbody>\n{body}\n</tbody>\n</table>", class_="wide")


def file_list(paths: Iterable[str], shown: int = 0) -> str:
    """Links to files, without the first `shown` folders in their names."""
    items = "\n".join(tag("li", link(path, "/".join(path.split("/")[shown:]))) for path in paths)
    return f'<ul class="files">\n{items}\n</ul>'


def swatch(color: str) -> str:
    """A small square in a model's colour."""
    return f'<span class="swatch" style="background:{escape(color)}"></span>'


def ranged(value: float, low: float, high: float) -> str:
    """A number with its interval in grey."""
    if value != value:
        return "undefined"
    interval = f' <span class="range">[{low:.2f}, {high:.2f}]</span>' if low == low and high == high else ""
    return f'<span class="keep">{value:.2f}{interval}</span>'
