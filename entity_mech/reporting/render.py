"""Pages and captions from Jinja templates. What is put into a page is escaped; a missing name is an error."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from entity_mech.reporting.findings.estimate import percent
from entity_mech.reporting.markdown import by_role


@cache
def _pages() -> Environment:
    environment = Environment(
        loader=PackageLoader("entity_mech.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["by_role"] = by_role
    return environment


def page(template: str, **values: object) -> str:
    """A page of `templates/`, as HTML."""
    return _pages().get_template(template).render(**values)


def fill_in(template: str, **values: object) -> str:
    """Text with Jinja's marks filled in, as plain text: a caption."""
    return Environment(autoescape=False, undefined=StrictUndefined).from_string(template).render(**values)
