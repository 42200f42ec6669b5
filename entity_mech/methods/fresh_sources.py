"""Head outputs of source prompts, made when they are needed and held in memory."""

from collections.abc import Sequence

import numpy as np

from entity_mech.engine.store import Head, StoredHeads, read_head_outputs, store_head_outputs
from entity_mech.hdf5 import scratch_hdf5
from entity_mech.methods.head_patching import PatchData
from entity_mech.models.decoder import Decoder
from entity_mech.task.tokens import TokenizedPairs


def with_sources(
    decoder: Decoder, pairs: TokenizedPairs, heads: Sequence[Head], batch: int | None = None
) -> PatchData:
    """Pairs with the outputs of chosen (role, layer, head) in their source prompts."""
    roles = tuple(dict.fromkeys(role for role, _, _ in heads))
    if not heads:
        return PatchData(pairs, StoredHeads(np.zeros((len(pairs), 0, decoder.shape.d_head), np.float32), (), ()))
    with scratch_hdf5() as file:
        store_head_outputs(decoder, pairs.source, roles, file.create_group("source"), batch, heads)
        stored = read_head_outputs(file["source"])
        return PatchData(pairs, StoredHeads(np.asarray(stored.z[()]), stored.roles, stored.chosen))
