"""Where a group's strongest heads look: from its token to roles and segments (method, section 9)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float

from entity_mech.engine.block import beyond_window, capped
from entity_mech.engine.clean import run_clean, to_ids
from entity_mech.engine.memory import activation_budget, slices
from entity_mech.engine.store import role_positions
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.intervals import mean_interval
from entity_mech.models.decoder import Decoder
from entity_mech.progress import track
from entity_mech.task.roles import ALIASES
from entity_mech.task.tokens import TokenizedPrompts

MEAN_COLUMNS = [
    *("model", "circuit", "group", "letter", "token", "layer", "head", "rank"),
    *("kind", "to", "attention", "low", "high", "n"),
]
ROW_COLUMNS = [
    *("model", "circuit", "group", "letter", "token", "layer", "head", "rank"),
    *("prompt", "position", "token_id", "text", "attention"),
]
QUERIED, OTHERS = "queried", "others"


@dataclass(frozen=True)
class PatternOptions:
    """heads: how many of each group's strongest."""

    heads: int = 3
    batch: int | None = None


def attention_from(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    heads: list[tuple[str, int, int]],
    batch: int | None = None,
) -> Float[np.ndarray, "heads prompt pos"]:
    """Attention of (role, layer, head) from the role's token to every token, 0 after it."""
    n, n_pos = prompts.ids.shape
    found = np.zeros((len(heads), n, n_pos), np.float32)
    if not heads:
        return found
    s, top = decoder.shape, max(layer for _, layer, _ in heads)
    per_prompt = n_pos * s.n_layers * (s.n_heads + s.n_kv_heads) * s.d_head * decoder.embedding.element_size()
    size = min(batch or max(1, activation_budget(decoder) // per_prompt), n)
    parts = slices(n, size)
    with torch.inference_mode():
        for rows in track(parts, len(parts), f"{decoder.name}: attention patterns"):
            ids = to_ids(decoder, prompts.ids[rows])
            clean = run_clean(decoder, ids, {"q", "k"}, last_layer=top)
            for i, (role, layer, head) in enumerate(heads):
                at = to_ids(decoder, role_positions(prompts, role)[rows])
                q = clean.q[layer][torch.arange(len(at)), head, at]
                k = clean.k[layer][:, head // s.group]
                scores = capped((k @ q[..., None])[..., 0].float() * decoder.block.scale, decoder.block.score_cap)
                distance = at[:, None] - torch.arange(n_pos, device=at.device)
                far = beyond_window(decoder, layer, distance)
                unseen = distance < 0 if far is None else (distance < 0) | far
                found[i, rows] = scores.masked_fill(unseen, -torch.inf).softmax(-1).cpu().numpy()
    return found


def strongest(circuit: Circuit, n: int) -> list[tuple[HeadGroup, int, tuple[int, int]]]:
    """(group, rank from 1, head) of each group's n strongest heads."""
    return [(group, rank, head) for group in circuit.groups for rank, head in enumerate(group.heads[:n], 1)]


def _labels(
    decoder: Decoder, circuit: Circuit, group: HeadGroup, rank: int, head: tuple[int, int]
) -> dict[str, object]:
    return {
        "model": decoder.name,
        "circuit": circuit.model,
        "group": group.name,
        "letter": group.letter,
        "token": group.role,
        "layer": head[0],
        "head": head[1],
        "rank": rank,
    }


def targets(prompts: TokenizedPrompts, source: str) -> dict[tuple[str, str], Bool[np.ndarray, "prompt pos"]]:
    """What attention is summed over, as 0/1 masks: (`role`, name), (`segment`, index from 1, `queried`, `others`).

    Roles that a prompt lacks, or has after the source, are left out.
    """
    at, columns = role_positions(prompts, source), np.arange(prompts.ids.shape[1])
    found: dict[tuple[str, str], np.ndarray] = {}
    for role, positions in prompts.roles.items():
        if role not in ALIASES and (positions >= 0).all() and (positions <= at).all():
            found["role", role] = columns == positions[:, None]
    for segment in range(int(prompts.segment.max()) + 1):
        found["segment", str(segment + 1)] = prompts.segment == segment
    queried = prompts.segment == prompts.query_index[:, None]
    found["segment", QUERIED] = queried & (prompts.segment >= 0)
    found["segment", OTHERS] = ~queried & (prompts.segment >= 0)
    return found


def mean_patterns(
    decoder: Decoder, circuit: Circuit, prompts: TokenizedPrompts, options: PatternOptions
) -> pd.DataFrame:
    """Mean attention of each group's strongest heads from its token to each role and each box segment.

    Segments are summed over their tokens; they count from 1 in the order of the text.
    """
    chosen = strongest(circuit, options.heads)
    heads = [(group.role, *head) for group, _, head in chosen]
    patterns = attention_from(decoder, prompts, heads, options.batch)
    rows = []
    for (group, rank, head), pattern in zip(chosen, patterns, strict=True):
        for (kind, name), where in targets(prompts, group.role).items():
            value, low, high = mean_interval((pattern * where).sum(1), prompts.scene)
            numbers = {"attention": value, "low": low, "high": high, "n": len(prompts)}
            rows.append({**_labels(decoder, circuit, group, rank, head), "kind": kind, "to": name, **numbers})
    return pd.DataFrame(rows, columns=MEAN_COLUMNS)


def prompt_patterns(
    decoder: Decoder,
    circuit: Circuit,
    prompts: TokenizedPrompts,
    index: int,
    pieces: Mapping[int, str],
    options: PatternOptions,
) -> pd.DataFrame:
    """One prompt's whole attention row for each group's strongest heads, with its tokens, for a picture.

    pieces: token id -> text.
    """
    one = prompts.rows([index])
    chosen = strongest(circuit, options.heads)
    patterns = attention_from(decoder, one, [(group.role, *head) for group, _, head in chosen], 1)
    rows = [
        {
            **_labels(decoder, circuit, group, rank, head),
            "prompt": index,
            "position": position,
            "token_id": int(token),
            "text": pieces.get(int(token), ""),
            "attention": float(pattern[0, position]),
        }
        for (group, rank, head), pattern in zip(chosen, patterns, strict=True)
        for position, token in enumerate(one.ids[0])
    ]
    return pd.DataFrame(rows, columns=ROW_COLUMNS)
