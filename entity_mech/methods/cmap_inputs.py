"""Which input of a group fine-tuning improved: q, k, v across models (method, section 8; paper, section 6).

q is patched at the group's token, the prompt's last; k and v at every position before it, for the key/value heads
that the group's heads read: like every head that shares them, they then see the donor's. All other positions
stay as they are in the target's clean run, so only the last token runs again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from entity_mech.engine.clean import CleanRun, run_clean, to_ids
from entity_mech.engine.memory import slices
from entity_mech.engine.prefix import KEPT, EditPlan, start_at
from entity_mech.engine.readout import predictions
from entity_mech.engine.store import Head
from entity_mech.engine.suffix import Edit, Start, run_layers
from entity_mech.errors import UserError
from entity_mech.methods.cmap import (
    INTO_BASE,
    INTO_FINE_TUNED,
    CmapOptions,
    Part,
    Side,
    accuracy_columns,
    check_comparable,
    gains,
    part_variants,
)
from entity_mech.methods.head_patching import patched_predictions, patching_batch
from entity_mech.models.decoder import Decoder
from entity_mech.progress import track
from entity_mech.task.tokens import TokenizedPrompts

INPUTS = ("q", "k", "v", "qk", "qkv")
COLUMNS = [
    *("base", "model", "donor", "target", "circuit", "part", "input", "kind", "draw", "n_heads", "fallback"),
    *("accuracy", "low", "high", "gain", "gain_low", "gain_high", "share", "share_low", "share_high", "n"),
]


@dataclass(frozen=True)
class InputRun:
    """Inputs of some heads to patch, all at the last token."""

    heads: tuple[Head, ...]
    inputs: str


def _patched_last(target: Decoder, donor: CleanRun, base: Start, run: InputRun) -> Int[Tensor, " row"]:
    """Predictions of a prompt batch. base: the clean last token, from the lowest layer of any run on."""
    by_layer: dict[int, list[int]] = {}
    for _, layer, head in run.heads:
        by_layer.setdefault(layer, []).append(head)
    k, v, edits = list(base.k), list(base.v), []
    rows = torch.arange(base.span.n_rows, device=target.device)
    last = base.span.tokens[:, 0]
    for layer, heads in by_layer.items():
        shared = sorted({head // target.shape.group for head in heads})
        for kind, kept, given in (("k", k, donor.k), ("v", v, donor.v)):
            if kind in run.inputs:
                changed = kept[layer - base.layer].clone()
                replacing = base.span.ordered(given[layer][:, shared, : base.span.n_prefix])
                changed[:, shared] = replacing.to(changed.dtype)
                kept[layer - base.layer] = changed
        if "q" in run.inputs:
            q = donor.q[layer][rows, :, last][:, heads]
            edits.append(Edit(layer, 0, tuple(heads), q, kind="q"))
    start = replace(base, k=k, v=v)
    return predictions(target, run_layers(target, start, base.stream[None], edits)[0])


def patched_inputs(
    target: Decoder,
    donor: Decoder,
    prompts: TokenizedPrompts,
    runs: Sequence[InputRun],
    batch: int | None = None,
) -> Int[np.ndarray, "run prompt"]:
    """Most likely next tokens of the target, with some heads' inputs at the last token taken from the donor.

    Raises UserError for heads at another token, and ValueError for a run that patches nothing.
    """
    away = {role for run in runs for role, _, _ in run.heads if role != "last"}
    if away:
        raise UserError(f"inputs can be patched for groups at the last token, not at {', '.join(sorted(away))}")
    for run in runs:
        if not run.heads or not run.inputs or set(run.inputs) - set("qkv"):
            raise ValueError(f"inputs {run.inputs!r} of {len(run.heads)} heads: nothing is patched")
    found = np.zeros((len(runs), len(prompts)), np.int64)
    if not runs:
        return found
    size = min(batch or patching_batch(target, prompts.ids.shape[1], 2), len(prompts))
    parts = slices(len(prompts), size)
    plan = EditPlan(("last",), min(layer for run in runs for _, layer, _ in run.heads))
    with torch.inference_mode():
        for rows in track(parts, len(parts), f"inputs, {donor.name} into {target.name}"):
            part = prompts.rows(rows)
            ids = to_ids(target, part.ids)
            clean = run_clean(target, ids, KEPT)
            given = run_clean(donor, ids.to(donor.device), {"q", "k", "v"})
            if donor.device != target.device:
                for kind in ("q", "k", "v"):
                    setattr(given, kind, [x.to(target.device) for x in getattr(given, kind)])
            base = start_at(clean, plan.span(part, target.device), plan.layer, join=False)
            for i, run in enumerate(runs):
                found[i, rows] = _patched_last(target, given, base, run).cpu().numpy()
    return found


def run_cmap_inputs(
    base: Side,
    model: Side,
    parts: Mapping[str, Sequence[Part]],
    taken: frozenset[Head],
    options: CmapOptions,
    inputs: Sequence[str] = INPUTS,
) -> pd.DataFrame:
    """Inputs of parts patched between a base and a fine-tuned model, with size-matched random controls.

    parts: circuit -> parts at the last token (for example A and B of cmap_parts); parts without heads give no
    row. taken: heads that no control may have (heads_of_both). Both models are in memory at once. Raises UserError
    naming both models when they do not match.
    """
    check_comparable(base, model)
    decoders = {side.name: side.load() for side in (base, model)}
    own = {side.name: _own(decoders[side.name], side, options.batch) for side in (base, model)}
    rows: list[dict[str, object]] = []
    for target, donor, direction in ((base, model, INTO_BASE), (model, base, INTO_FINE_TUNED)):
        if direction not in options.directions:
            continue
        asked = [
            (circuit, part, kind, draw, InputRun(heads, which))
            for circuit, its_parts in parts.items()
            for part in its_parts
            for kind, draw, heads in part_variants(circuit, part, taken, target.shape, options)
            for which in inputs
            if heads
        ]
        runs = [run for *_, run in asked]
        found = patched_inputs(decoders[target.name], decoders[donor.name], target.prompts, runs, options.batch)
        for (circuit, part, kind, draw, run), predicted in zip(asked, found, strict=True):
            named = {"donor": donor.name, "target": target.name, "circuit": circuit, "part": part.name}
            what = {"input": run.inputs, "kind": kind, "draw": draw, "fallback": part.fallback}
            right = predicted == target.prompts.answer
            scene = target.prompts.scene
            numbers = {**accuracy_columns(right, scene), **gains(right, own[target.name], own[donor.name], scene)}
            rows.append({**named, **what, "n_heads": len(run.heads), **numbers})
    table = pd.DataFrame(rows, columns=COLUMNS[2:]).assign(base=base.name, model=model.name)
    return table.reindex(columns=COLUMNS).astype({"draw": "Int64"})


def _own(decoder: Decoder, side: Side, batch: int | None) -> np.ndarray:
    """Which prompts a model answers correctly by itself [prompt]."""
    given = patched_predictions(decoder, side.prompts, side.outputs, {"own": [()]}, batch)
    return np.asarray(given["own"][0] == side.prompts.answer)
