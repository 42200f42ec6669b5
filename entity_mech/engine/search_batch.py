"""What every step of a search reads: some prompts, their clean run, and where the sender's token is in each."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from entity_mech.engine.clean import CleanRun, run_clean
from entity_mech.models.decoder import Decoder

KEPT = frozenset({"pre", "attn_out", "z", "q", "k", "v"})


@dataclass(frozen=True)
class SearchBatch:
    """Prompts of one search: their clean run (with KEPT), lengths, correct tokens, and the sender's token in each."""

    clean: CleanRun
    length: Int[Tensor, " prompt"]
    answer: Int[Tensor, " prompt"]
    pos: Int[Tensor, " prompt"]

    @classmethod
    def of(
        cls,
        decoder: Decoder,
        ids: Int[Tensor, "prompt pos"],
        length: Int[Tensor, " prompt"],
        answer: Int[Tensor, " prompt"],
        pos: Int[Tensor, " prompt"],
    ) -> SearchBatch:
        """From token ids, which are run."""
        return cls(run_clean(decoder, ids, KEPT), length, answer, pos)
