"""Pairs of prompts whose target is what patching one head of a random model gives: a head for DCM to find."""

from dataclasses import replace

import torch

from entity_mech.engine.store import StoredHeads
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.head_patching import PatchData
from tests.helpers.box_prompts import box_pairs
from tests.helpers.literal_circuits import head_outputs
from tests.helpers.literal_patching import literal_patched

ROLES = ("last", "query_label", "label")
GROUP = HeadGroup("position_detector", "C", "query_label", ((0, 1), (1, 0), (1, 2), (0, 3)))
A = HeadGroup("value_fetcher", "A", "last", ((2, 0), (1, 1), (2, 3)))
D = HeadGroup("structure_reader", "D", "previous_label", ((0, 2), (1, 3)))
EMPTY = HeadGroup("position_transmitter", "B", "last", ())
CIRCUIT = Circuit("m", (A, EMPTY, GROUP, D))


def stored(model, prompts) -> StoredHeads:
    z = head_outputs(model, prompts.ids)
    rows = torch.arange(len(prompts))
    picked = torch.stack([z[rows, torch.as_tensor(prompts.roles[role])] for role in ROLES], 1)
    return StoredHeads(picked.numpy(), ROLES)


def literal_logits(model, data: PatchData, group: HeadGroup, weights: torch.Tensor, rows=slice(None)):
    base, source = data.pairs.base.rows(rows), data.source
    position = torch.as_tensor(base.roles[group.role])
    dtype = weights.dtype
    edits = [
        (layer, position, (head,), torch.as_tensor(source.at(group.role, [(layer, head)], rows)).to(dtype), w[None])
        for (layer, head), w in zip(group.heads, weights, strict=True)
    ]
    return literal_patched(model, torch.as_tensor(base.ids), torch.as_tensor(base.length - 1), edits)


def data_for(model, seed: int, n: int, group: HeadGroup, planted: int, louder: float = 1.0) -> PatchData:
    """Pairs whose target is what patching one head gives: that head carries the desideratum.

    louder: how much larger than life the source's outputs of that head are.
    """
    pairs = box_pairs(seed, n, ragged=True)
    data = PatchData(pairs, stored(model, pairs.source))
    data.source.z[:, :, *group.heads[planted]] *= louder
    weights = torch.ones(len(group.heads))
    weights[planted] = 0
    with torch.no_grad():
        target = literal_logits(model, data, group, weights).argmax(-1).numpy()
    return PatchData(replace(pairs, target=target), data.source)
