"""The intact model with only some heads mean-ablated, at their tokens (method, sections 5 and 6)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from entity_mech.engine.clean import CleanRun, run_clean, to_ids
from entity_mech.engine.memory import slices
from entity_mech.engine.prefix import KEPT, start_at
from entity_mech.engine.readout import predictions
from entity_mech.engine.store import Head, role_positions
from entity_mech.engine.suffix import run_suffix
from entity_mech.methods.head_patching import edits_for, patching_batch, plan_of
from entity_mech.models.decoder import Decoder
from entity_mech.progress import track
from entity_mech.task.tokens import TokenizedPrompts


def correct_without(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    means: Tensor,
    variants: Sequence[Sequence[Head]],
    *,
    label: str = "ablated heads",
    batch: int | None = None,
) -> np.ndarray:
    """Whether the model is right, bool [variant, prompt], when a variant's (role, layer, head) give their mean.

    means: [pos, layer, head, d_head]. A variant without heads is the intact model. Variants that touch the same
    roles are one batch, run from the first of these tokens and the lowest of the layers on.
    """
    correct: np.ndarray = np.zeros((len(variants), len(prompts)), dtype=bool)
    together: dict[frozenset[str], list[int]] = {}
    for i, variant in enumerate(variants):
        together.setdefault(frozenset(role for role, _, _ in variant), []).append(i)
    means = means.to(decoder.device, decoder.dtype)
    copies = max(map(len, together.values()), default=1)
    size = batch or patching_batch(decoder, prompts.ids.shape[1], copies)
    parts = slices(len(prompts), size)
    with torch.inference_mode():
        for rows in track(parts, len(parts), f"{label}: {len(variants)} variants, {size} prompts a batch"):
            part = prompts.rows(rows)
            answer = to_ids(decoder, part.answer)
            clean = run_clean(decoder, to_ids(decoder, part.ids), KEPT)
            for roles, members in together.items():
                if roles:
                    final = _run_without(decoder, part, clean, means, [variants[i] for i in members])
                else:
                    final = clean.last(to_ids(decoder, part.length)).expand(len(members), -1, -1)
                correct[members, rows] = (predictions(decoder, final) == answer).cpu().numpy()
    return correct


def _run_without(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    clean: CleanRun,
    means: Tensor,
    variants: Sequence[Sequence[Head]],
) -> Tensor:
    """Final residual stream [variant, prompt, d_model] without each variant's heads."""
    heads = list(dict.fromkeys(head for variant in variants for head in variant))
    own = [[head not in variant for head in heads] for variant in map(set, variants)]
    weights = torch.tensor(own, device=decoder.device, dtype=decoder.dtype)[:, None]
    at = torch.stack([to_ids(decoder, role_positions(prompts, role)) for role, _, _ in heads], 1)
    values = means[at, [layer for _, layer, _ in heads], [head for _, _, head in heads]]
    plan = plan_of(heads)
    start = start_at(clean, plan.span(prompts, decoder.device), plan.layer)
    return run_suffix(decoder, start, edits_for(plan, heads, values, weights), len(variants))
