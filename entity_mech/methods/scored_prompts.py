"""The prompts that a chain of searches scores heads on: in batches, with what a search reads of them."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entity_mech.engine.clean import CleanRun, run_clean, to_ids
from entity_mech.engine.path_patching import MAX_ROWS
from entity_mech.engine.search_batch import KEPT, SearchBatch
from entity_mech.models.decoder import Decoder
from entity_mech.task.tokens import TokenizedPrompts

# (kind: "corrupted" or "null", role, prompts) -> head outputs [prompt, layer, head, d_head]
HeadOutputs = Callable[[str, str, np.ndarray], np.ndarray]


class ScoredPrompts:
    """A model and the prompts that its heads are scored on.

    prompts: the clean ones. outputs: head outputs of their corrupted (and null) partners, at the same role of their
    own. rows: the prompts that are scored, all by default. batch_size: at a time, all by default. max_rows: tokens
    in flight in pass 2. A batch that is the only one is run once for all searches.
    """

    def __init__(
        self,
        decoder: Decoder,
        prompts: TokenizedPrompts,
        outputs: HeadOutputs,
        rows: np.ndarray | None = None,
        batch_size: int | None = None,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self.decoder, self.prompts, self.outputs, self.max_rows = decoder, prompts, outputs, max_rows
        self.rows = np.arange(len(prompts)) if rows is None else rows
        self.batch_size = batch_size or len(self.rows)
        self._only: CleanRun | None = None

    def parts(self) -> list[slice]:
        """The batches, as parts of `rows`."""
        starts = range(0, len(self.rows), self.batch_size)
        return [slice(first, min(first + self.batch_size, len(self.rows))) for first in starts]

    def batch(self, part: slice, token: str) -> SearchBatch:
        """A batch with its clean run, for senders at a token role."""
        prompts = self.prompts.rows(self.rows[part])
        facts = (prompts.length, prompts.answer, prompts.roles[token])
        clean = self._only or run_clean(self.decoder, to_ids(self.decoder, prompts.ids), KEPT)
        if len(self.rows) <= self.batch_size:
            self._only = clean
        return SearchBatch(clean, *(to_ids(self.decoder, fact) for fact in facts))

    def sources(self, kind: str, token: str, part: slice) -> Float[Tensor, "prompt layer head d_head"]:
        """Head outputs of a batch's partners, on the model's device."""
        return torch.as_tensor(self.outputs(kind, token, self.rows[part]), device=self.decoder.device)
