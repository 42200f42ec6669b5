"""Names of the token roles of a prompt (method, section 1)."""

from __future__ import annotations

# In the order in which they stand in `The apple is in Box F, ... . Box F contains the`.
SEGMENT_ROLES = ("the", "object", "is", "in", "box", "label", "separator")
QUERY_ROLES = ("query_box", "query_label", "contains", "last")
# The paper's names for two roles of the queried segment.
ALIASES = {"previous_label": "label", "correct_object": "object"}
ROLES = ("bos", *SEGMENT_ROLES, *QUERY_ROLES, *ALIASES)
# Tokens of the other segments, by role.
SETS = {"other_objects": "object", "other_labels": "label", "other_separators": "separator"}
