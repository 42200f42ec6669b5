"""Replacing the outputs of chosen heads at their tokens: what DCM, CMAP and the patching of DCM's heads share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from entity_mech.engine.clean import run_clean, to_ids
from entity_mech.engine.memory import activation_budget, bytes_per_prompt, slices
from entity_mech.engine.prefix import KEPT, EditPlan, start_at
from entity_mech.engine.readout import predictions
from entity_mech.engine.store import Head, StoredHeads
from entity_mech.engine.suffix import Edit, run_suffix
from entity_mech.methods.circuits import HeadGroup
from entity_mech.models.decoder import Decoder
from entity_mech.progress import track
from entity_mech.task.tokens import TokenizedPairs, TokenizedPrompts


@dataclass(frozen=True)
class PatchData:
    """Pairs, and the head outputs of their source prompts at the source's own roles."""

    pairs: TokenizedPairs
    source: StoredHeads


def heads_at(group: HeadGroup) -> tuple[Head, ...]:
    """A group's heads as (role, layer, head)."""
    return tuple((group.role, layer, head) for layer, head in group.heads)


def carriers(group: HeadGroup, desideratum: str, selected: pd.DataFrame) -> tuple[Head, ...]:
    """A group's heads that carry a desideratum, from DCM's table (group, desideratum, layer, head, selected)."""
    rows = selected[(selected["group"] == group.name) & (selected["desideratum"] == desideratum)]
    rows = rows[rows["selected"].astype(bool)]
    return heads_at(group.only((int(la), int(h)) for la, h in zip(rows["layer"], rows["head"], strict=True)))


def plan_of(heads: Sequence[Head]) -> EditPlan:
    """Sites for the heads' roles, and the lowest of their layers."""
    return EditPlan(tuple(dict.fromkeys(role for role, _, _ in heads)), min(layer for _, layer, _ in heads))


def edits_for(
    plan: EditPlan,
    heads: Sequence[Head],
    values: Float[Tensor, "row n_heads d_head"],
    weights: Float[Tensor, "*variants n_heads"] | None = None,
) -> list[Edit]:
    """One edit a layer and site. weights: of each head's own output, [n_heads] or [variant, 1, n_heads]."""
    found: dict[tuple[int, int], list[int]] = {}
    for i, (role, layer, _) in enumerate(heads):
        found.setdefault((layer, plan.roles.index(role)), []).append(i)
    return [
        Edit(
            layer,
            site,
            tuple(heads[i][2] for i in index),
            values[:, index],
            None if weights is None else weights[..., index],
        )
        for (layer, site), index in sorted(found.items())
    ]


def source_values(
    decoder: Decoder, source: StoredHeads, heads: Sequence[Head], rows: slice | np.ndarray = slice(None)
) -> Float[Tensor, "row n_heads d_head"]:
    """Stored outputs of heads, in their order, on the model's device and in its dtype."""
    found: list[np.ndarray | None] = [None] * len(heads)
    for role in dict.fromkeys(role for role, _, _ in heads):
        index = [i for i, head in enumerate(heads) if head[0] == role]
        values = source.at(role, [heads[i][1:] for i in index], rows)
        for slot, i in enumerate(index):
            found[i] = values[:, slot]
    stacked = np.stack([values for values in found if values is not None], 1)
    return torch.as_tensor(stacked, device=decoder.device, dtype=decoder.dtype)


def patching_batch(decoder: Decoder, n_pos: int, copies: int, budget: int | None = None) -> int:
    """Prompts at a time: the clean run, and `copies` suffixes in flight, at worst as long as the prompt."""
    s = decoder.shape
    in_flight = copies * n_pos * (8 * s.d_model + 2 * s.n_heads * n_pos)
    size = bytes_per_prompt(decoder, n_pos) + in_flight * decoder.embedding.element_size()
    return max(1, (budget or activation_budget(decoder)) // size)


def patched_predictions(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    source: StoredHeads,
    patches: Mapping[str, Sequence[Sequence[Head]]],
    batch: int | None = None,
    label: str = "",
) -> dict[str, Int[np.ndarray, "variant prompt"]]:
    """Most likely next tokens when the outputs of chosen heads are replaced by the source's; others recompute.

    source: head outputs, row by row those of the prompts' partners (or of another model on the same prompts).
    patches: name -> variants, each some (role, layer, head); the variants of a patch run as one batch. A
    variant without heads gives the unedited model's prediction. All patches share each batch's clean run.
    """
    found = {name: np.zeros((len(variants), len(prompts)), np.int64) for name, variants in patches.items()}
    copies = max((len(variants) for variants in patches.values()), default=0)
    size = min(batch or patching_batch(decoder, prompts.ids.shape[1], copies), len(prompts))
    parts = slices(len(prompts), size)
    with torch.inference_mode():
        for rows in track(parts, len(parts), f"{label or decoder.name}: batches of {size} prompts"):
            part = prompts.rows(rows)
            clean = run_clean(decoder, to_ids(decoder, part.ids), KEPT)
            own = predictions(decoder, clean.last(to_ids(decoder, part.length))).cpu().numpy()
            for name, variants in patches.items():
                heads = list(dict.fromkeys(head for variant in variants for head in variant))
                if not heads:
                    found[name][:, rows] = own
                    continue
                plan = plan_of(heads)
                start = start_at(clean, plan.span(part, decoder.device), plan.layer)
                kept = [[head not in set(variant) for head in heads] for variant in variants]
                weights = torch.tensor(kept, device=decoder.device, dtype=decoder.dtype)[:, None]
                values = source_values(decoder, source, heads, rows)
                edits = edits_for(plan, heads, values, weights)
                final = run_suffix(decoder, start, edits, len(variants))
                found[name][:, rows] = predictions(decoder, final).cpu().numpy()
    return found
