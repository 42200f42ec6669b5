"""Which tokens a model's heads are needed at, and which are enough (method, section 5).

Needed: F when all heads are mean-ablated at one token role, everything else intact. Enough: F when heads are kept
at some tokens only and mean-ablated at all others.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from entity_mech.engine.circuit_batches import Batching, gives_at
from entity_mech.engine.store import Head, role_positions
from entity_mech.errors import UserError
from entity_mech.methods.head_ablation import correct_without
from entity_mech.methods.intervals import difference_interval, difference_p, mean_interval
from entity_mech.models.decoder import Decoder
from entity_mech.task.roles import LABEL, OBJECT
from entity_mech.task.tokens import TokenizedPrompts

COLUMNS = ["model", "kind", "tokens", "accuracy", "low", "high", "drop", "drop_low", "drop_high", "drop_p", "n"]
# Sets of tokens that are tried in addition to the circuit's own; `segment` is the queried segment.
ENOUGH: tuple[tuple[str, ...], ...] = (
    ("last",),
    ("query_label", "last"),
    ("label", "last"),
    ("label", "query_label", "last"),
    ("separator", "query_label", "last"),
    ("query",),
    ("segment", "query"),
    ("other_labels", "label", "query"),
    ("other_separators", "separator", "query"),
    ("everything",),
)
# Where the object comes second, it may be the token at which the two are bound.
OBJECT_SECOND: tuple[tuple[str, ...], ...] = (("object", "last"), ("object", "query_label", "last"))


def sets_of(roles: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The sets of tokens that are tried for a task's roles, which are in the order of a prompt."""
    return (*ENOUGH, *OBJECT_SECOND) if roles.index(LABEL) < roles.index(OBJECT) else ENOUGH


def tokens_of(prompts: TokenizedPrompts, names: Sequence[str]) -> np.ndarray:
    """Tokens that belong to any of the named roles or sets, bool [prompt, pos].

    Beside roles and the sets of other segments' tokens: `segment` (the queried segment), `query` (all behind the last
    segment) and `everything`. Raises UserError for another name.
    """
    pos = np.arange(prompts.ids.shape[1])
    chosen: np.ndarray = np.zeros(prompts.ids.shape, dtype=bool)
    for name in names:
        if name == "everything":
            chosen |= pos < prompts.length[:, None]
        elif name == "segment":
            chosen |= (prompts.segment == prompts.query_index[:, None]) & (prompts.segment >= 0)
        elif name == "query":
            context = np.where(prompts.segment >= 0, pos, -1).max(1)[:, None]
            chosen |= (pos > context) & (pos < prompts.length[:, None])
        elif name in prompts.sets:
            chosen |= prompts.sets[name]
        elif name in prompts.roles:
            chosen[np.arange(len(prompts)), role_positions(prompts, name)] = True
        else:
            raise UserError(f"role map: no token role or set {name!r}")
    return chosen


def enough(
    decoder: Decoder, prompts: TokenizedPrompts, means: Tensor, kept: np.ndarray, label: str = ""
) -> np.ndarray:
    """Whether the model is right with all heads kept at some tokens [prompt, pos] and ablated elsewhere."""
    last = prompts.length - 1
    with_last = kept.copy()
    with_last[np.arange(len(kept)), last] = True
    correct: np.ndarray = np.zeros(len(kept), dtype=bool)
    counts = with_last.sum(1)
    for n in np.unique(counts):
        members = np.flatnonzero(counts == n)
        positions = np.nonzero(with_last[members])[1].reshape(len(members), n)
        mask = np.ones((1, n, decoder.shape.n_layers, decoder.shape.n_heads), dtype=bool)
        at_last = kept[members, last[members]]
        for own in np.unique(at_last):
            mask[0, -1] = own
            rows = at_last == own
            part = prompts.rows(members[rows])
            found = gives_at(decoder, part, means, positions[rows], mask, part.answer[None], Batching(label))
            correct[members[rows]] = found[0, 0]
    return correct


def role_map(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    means: Tensor,
    model_correct: np.ndarray,
    *,
    needed: Sequence[str],
    sets: Sequence[Sequence[str]],
) -> pd.DataFrame:
    """F without all heads at one role alone, and with heads at some sets of tokens alone.

    Args:
        prompts: the evaluation split; means: [pos, layer, head, d_head] of this model.
        model_correct: whether the intact model is right [prompt].
        needed: the task's roles; sets: names of tokens whose heads are kept together, of `sets_of`.

    Roles that a prompt has no token for are left out, and sets with such a role. Columns: model, kind (intact,
    needed, enough), tokens (names joined by "+"), accuracy with its interval, n. Of needed roles also drop: accuracy
    of the intact model minus that without the role's heads, over the same prompts, with its interval and p value.
    """
    shape = decoder.shape
    found: list[tuple[str, str, np.ndarray]] = [("intact", "", np.asarray(model_correct, dtype=bool))]
    missing = {role for role, at in prompts.roles.items() if (at < 0).any()}
    there = [role for role in needed if role in prompts.roles and role not in missing]
    everywhere = [(layer, head) for layer in range(shape.n_layers) for head in range(shape.n_heads)]
    variants: list[list[Head]] = [[(role, layer, head) for layer, head in everywhere] for role in there]
    without = correct_without(decoder, prompts, means, variants, label="without heads at a role")
    found += [("needed", role, correct) for role, correct in zip(there, without, strict=True)]
    for names in dict.fromkeys(tuple(names) for names in sets if not missing & set(names)):
        joined = "+".join(names)
        kept = tokens_of(prompts, names)
        found.append(("enough", joined, enough(decoder, prompts, means, kept, f"heads at {joined} alone")))
    rows = []
    for kind, tokens, right in found:
        drop = [np.nan] * 4
        if kind == "needed":
            both = (found[0][2], right, prompts.scene)
            drop = [*difference_interval(*both), difference_p(*both)]
        rows.append((decoder.name, kind, tokens, *mean_interval(right, prompts.scene), *drop, len(prompts)))
    return pd.DataFrame(rows, columns=COLUMNS)
