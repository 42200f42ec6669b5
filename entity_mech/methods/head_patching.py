"""Replacing the outputs of chosen heads at their tokens: what DCM, CMAP and the patching of DCM's heads share."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from entity_mech.engine.clean import CleanRun, run_clean, to_ids
from entity_mech.engine.memory import activation_budget
from entity_mech.engine.ops import predictions
from entity_mech.engine.prefix import KEPT, EditPlan, bytes_per_prompt, slices, start_at
from entity_mech.engine.store import Head, StoredHeads
from entity_mech.engine.suffix import Edit, run_suffix
from entity_mech.methods.circuits import HeadGroup
from entity_mech.models.decoder import Decoder
from entity_mech.progress import track
from entity_mech.task.tokens import TokenizedPairs, TokenizedPrompts

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class PatchData:
    """Pairs, and the head outputs of their source prompts at the source's own roles."""

    pairs: TokenizedPairs
    source: StoredHeads


@dataclass(frozen=True)
class CleanBatch:
    """Some of a stage's prompts, and the patched model's own clean run on them."""

    rows: slice
    prompts: TokenizedPrompts
    clean: CleanRun


class HeadSource(ABC):
    """Where the outputs come from that replace those of chosen heads."""

    @abstractmethod
    def values(
        self, decoder: Decoder, heads: Sequence[Head], batch: CleanBatch
    ) -> Float[Tensor, "prompt n_heads d_head"]:
        """Outputs of heads for the batch's prompts, on the patched model's device."""

    def projection(self, layer: int) -> Float[Tensor, "head d_head d_model"] | None:
        """What a layer's outputs pass through to the stream; None: the patched model's own output projection."""
        return None


@dataclass(frozen=True, eq=False)
class FromStore(HeadSource):
    """Stored outputs, row by row those of the prompts' partners, through the patched model's own projection."""

    stored: StoredHeads

    def values(self, decoder: Decoder, heads: Sequence[Head], batch: CleanBatch) -> Tensor:
        return source_values(decoder, self.stored, heads, batch.rows)


@dataclass(frozen=True)
class Patch:
    """Variants, each some (role, layer, head) whose outputs `source` replaces; they run as one batch.

    A variant without heads is the unedited model.
    """

    source: HeadSource
    variants: Sequence[Sequence[Head]]

    @property
    def heads(self) -> list[Head]:
        """Every head of any variant, once."""
        return list(dict.fromkeys(head for variant in self.variants for head in variant))


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
    given = {name: Patch(FromStore(source), variants) for name, variants in patches.items()}
    return run_patches(decoder, prompts, given, batch, label)


def run_patches(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    patches: Mapping[Key, Patch],
    batch: int | None = None,
    label: str = "",
) -> dict[Key, Int[np.ndarray, "variant prompt"]]:
    """Most likely next tokens under each patch's variants. All share each batch's clean run and sources' values."""
    found = {key: np.zeros((len(patch.variants), len(prompts)), np.int64) for key, patch in patches.items()}
    copies = max((len(patch.variants) for patch in patches.values()), default=0)
    size = min(batch or patching_batch(decoder, prompts.ids.shape[1], copies), len(prompts))
    parts = slices(len(prompts), size)
    needed: dict[HeadSource, dict[Head, int]] = {}  # the place of every head among its source's values
    for patch in patches.values():
        places = needed.setdefault(patch.source, {})
        for head in patch.heads:
            places.setdefault(head, len(places))
    with torch.inference_mode():
        for rows in track(parts, len(parts), f"{label or decoder.name}: batches of {size} prompts"):
            part = prompts.rows(rows)
            clean = run_clean(decoder, to_ids(decoder, part.ids), KEPT)
            own = predictions(decoder, clean.last(to_ids(decoder, part.length))).cpu().numpy()
            one = CleanBatch(rows, part, clean)
            values = {source: source.values(decoder, list(heads), one) for source, heads in needed.items() if heads}
            for key, patch in patches.items():
                if not patch.heads:
                    found[key][:, rows] = own
                    continue
                index = [needed[patch.source][head] for head in patch.heads]
                final = _patched(decoder, one, patch, values[patch.source][:, index])
                found[key][:, rows] = predictions(decoder, final).cpu().numpy()
    return found


def _patched(
    decoder: Decoder, batch: CleanBatch, patch: Patch, values: Float[Tensor, "prompt n_heads d_head"]
) -> Float[Tensor, "variant prompt d_model"]:
    """Final residual stream at each prompt's last token. values: of the patch's heads."""
    heads, plan = patch.heads, plan_of(patch.heads)
    start = start_at(batch.clean, plan.span(batch.prompts, decoder.device), plan.layer)
    kept = [[head not in chosen for head in heads] for chosen in map(set, patch.variants)]
    weights = torch.tensor(kept, device=decoder.device, dtype=decoder.dtype)[:, None]
    edits = edits_for(plan, heads, values, weights)
    edits = [replace(edit, out=patch.source.projection(edit.layer)) for edit in edits]
    return run_suffix(decoder, start, edits, len(patch.variants))
