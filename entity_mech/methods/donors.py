"""What one model's heads give another, in two ways (method, section 8): the donor's outputs, or its weights alone.

Either way it is the heads' contribution that is given: their outputs through the donor's output projection.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from entity_mech.engine.clean import to_ids
from entity_mech.engine.donor_heads import chosen_outputs_on
from entity_mech.engine.store import Head, StoredHeads, role_positions
from entity_mech.methods.head_patching import CleanBatch, HeadSource, source_values
from entity_mech.models.decoder import Decoder


@dataclass(frozen=True, eq=False)
class DonorOutputs(HeadSource):
    """The donor's stored clean outputs: they hold all that happened before the heads in the donor."""

    donor: Decoder
    stored: StoredHeads

    def values(self, decoder: Decoder, heads: Sequence[Head], batch: CleanBatch) -> Tensor:
        return source_values(decoder, self.stored, heads, batch.rows)

    def projection(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        return self.donor.layers[layer].out_by_head


@dataclass(frozen=True, eq=False)
class DonorWeights(HeadSource):
    """The donor's heads run on the patched model's own clean inputs: nothing but their weights is the donor's."""

    donor: Decoder

    def values(self, decoder: Decoder, heads: Sequence[Head], batch: CleanBatch) -> Tensor:
        at = {role: role_positions(batch.prompts, role) for role in dict.fromkeys(role for role, _, _ in heads)}
        positions = np.stack([at[role] for role, _, _ in heads], 1)
        indices = [(layer, head) for _, layer, head in heads]
        return chosen_outputs_on(self.donor, batch.clean.pre, indices, to_ids(decoder, positions))

    def projection(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        return self.donor.layers[layer].out_by_head
