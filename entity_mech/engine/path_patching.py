"""One path-patching search over a batch of prompts: every head as a sender, exactly, both passes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from entity_mech.engine.direct_paths import ReceiverValues, direct_paths
from entity_mech.engine.readout import answer_probability
from entity_mech.engine.receiver_paths import Senders, receiver_paths, suffix_groups
from entity_mech.engine.receivers import Receivers
from entity_mech.engine.search_batch import SearchBatch
from entity_mech.models.decoder import Decoder

# Tokens in flight in pass 2; at 4096 dimensions in float32 they take 1 GiB.
MAX_ROWS = 65536


Answers = tuple[Float[Tensor, "sender prompt"], Float[Tensor, "sender prompt"]]  # probability and logit


def clean_answer(decoder: Decoder, batch: SearchBatch) -> tuple[Float[Tensor, " prompt"], Float[Tensor, " prompt"]]:
    """Probability and logit of the correct token in the clean run."""
    return answer_probability(decoder, batch.clean.last(batch.length), batch.answer)


def patched_answers(
    decoder: Decoder,
    batch: SearchBatch,
    corrupted: Float[Tensor, "prompt layer head d_head"],
    receivers: Receivers | None,
    max_rows: int = MAX_ROWS,
    layers: Sequence[int] | None = None,
) -> Answers:
    """Probability and logit of the correct token with each head's path patched (method, section 4).

    corrupted: head outputs of the corrupted prompts at the sender's role. receivers: None for the logits. Senders
    are the heads of all layers, or of some (ascending), layer by layer; those at or above the last receiver give
    exactly the clean answer.
    """
    s = decoder.shape
    p, logit = clean_answer(decoder, batch)
    sending = list(range(s.n_layers)) if layers is None else list(layers)
    n = len(sending) * s.n_heads
    p, logit = p.expand(n, -1).clone(), logit.expand(n, -1).clone()
    stop = s.n_layers if receivers is None else max(receivers.layers, default=0)
    below = [layer for layer in sending if layer < stop]
    if not below:
        return p, logit  # no receivers, or none above a sender: no sender has a path
    rows, values = direct_paths(decoder, batch, corrupted.to(decoder.dtype), receivers, below)
    if receivers is None:
        # Before the last token a head's direct path ends at its own token and never reaches the logits.
        at_last = batch.pos == batch.length - 1
        found = answer_probability(decoder, rows.flatten(0, 1), batch.answer.repeat(n))
        p, logit = (torch.where(at_last, new.view(n, -1), old) for new, old in zip(found, (p, logit), strict=True))
        return p, logit
    del rows
    first = torch.tensor(below, device=decoder.device) * s.n_heads
    everyone = (first[:, None] + torch.arange(s.n_heads, device=decoder.device)).flatten()
    senders = Senders(everyone, torch.arange(len(everyone), device=decoder.device))
    read_senders_(decoder, batch, receivers, values, senders, max_rows, (p, logit))
    return p, logit


def read_senders_(
    decoder: Decoder,
    batch: SearchBatch,
    receivers: Receivers,
    values: ReceiverValues,
    senders: Senders,
    max_rows: int,
    answers: Answers,
) -> None:
    """Pass 2 for chosen senders, all below the last receiver: their rows of the answers, in place.

    The answers have their rows at the same places as pass 1's values.
    """
    p, logit = answers
    for group in suffix_groups(batch.pos, batch.length - 1):
        for block, final in receiver_paths(decoder, batch.clean, group, receivers, values, senders, max_rows):
            target = batch.answer[group.prompts].repeat(len(block))
            found = answer_probability(decoder, final.flatten(0, 1), target)
            at, shape = (block[:, None], group.prompts[None]), (len(block), len(group.prompts))
            p[at], logit[at] = found[0].view(shape), found[1].view(shape)
