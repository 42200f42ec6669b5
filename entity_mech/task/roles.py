"""Names of the token roles that every wording has (docs/method.md, section 1); the others come from its words."""

from __future__ import annotations

BOS = "bos"
OBJECT, LABEL, SEPARATOR = "object", "label", "separator"
QUERY_LABEL, LAST = "query_label", "last"
# The paper's names for two roles of the queried segment.
ALIASES = {"previous_label": LABEL, "correct_object": OBJECT}
# Tokens of the other segments, by role.
SETS = {"other_objects": OBJECT, "other_labels": LABEL, "other_separators": SEPARATOR}
# Names that no word of a template may take: those above, and those that the role map gives to sets of tokens.
RESERVED = frozenset(
    {BOS, OBJECT, LABEL, SEPARATOR, QUERY_LABEL, LAST, *ALIASES, *SETS, "segment", "query", "everything", "random"}
)


def own_name(role: str) -> str:
    """A role under its own name: `label` for `previous_label`."""
    return ALIASES.get(role, role)
