"""One path-patching search over a batch of prompts: every head as a sender, exactly, both passes."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entity_mech.engine.clean import CleanRun, run_clean
from entity_mech.engine.direct_paths import ReceiverValues, direct_paths
from entity_mech.engine.ops import answer_probability
from entity_mech.engine.receiver_paths import receiver_paths, suffix_groups
from entity_mech.engine.receivers import Receivers
from entity_mech.models.decoder import Decoder

KEPT = frozenset({"mid", "attn_out", "z", "q", "k", "v"})
# Tokens in flight in pass 2; at 4096 dimensions in float32 they take 1 GiB.
MAX_ROWS = 65536


def clean_answer(
    decoder: Decoder, clean: CleanRun, length: Int[Tensor, " prompt"], answer: Int[Tensor, " prompt"]
) -> tuple[Float[Tensor, " prompt"], Float[Tensor, " prompt"]]:
    """Probability and logit of the correct token in the clean run."""
    return answer_probability(decoder, clean.last(length), answer)


def patched_answers(
    decoder: Decoder,
    clean: CleanRun,
    length: Int[Tensor, " prompt"],
    answer: Int[Tensor, " prompt"],
    pos: Int[Tensor, " prompt"],
    corrupted: Float[Tensor, "prompt layer head d_head"],
    receivers: Receivers | None,
    max_rows: int = MAX_ROWS,
    layers: Sequence[int] | None = None,
) -> tuple[Float[Tensor, "sender prompt"], Float[Tensor, "sender prompt"]]:
    """Probability and logit of the correct token with each head's path patched (method, section 4).

    pos: the sender's token in the clean prompts. corrupted: head outputs of the corrupted prompts at the
    sender's role. receivers: None for the logits. Senders are the heads of all layers, or of some (ascending),
    layer by layer; those at or above the last receiver give exactly the clean answer. `clean` needs KEPT.
    """
    s = decoder.shape
    p, logit = clean_answer(decoder, clean, length, answer)
    sending = list(range(s.n_layers)) if layers is None else list(layers)
    n = len(sending) * s.n_heads
    p, logit = p.expand(n, -1).clone(), logit.expand(n, -1).clone()
    stop = s.n_layers if receivers is None else max(receivers.layers, default=0)
    below = [layer for layer in sending if layer < stop]
    if not below:
        return p, logit  # no receivers, or none above a sender: no sender has a path
    rows, values = direct_paths(decoder, clean, pos, corrupted.to(decoder.dtype), receivers, below)
    if receivers is None:
        # Before the last token a head's direct path ends at its own token and never reaches the logits.
        at_last = pos == length - 1
        found = answer_probability(decoder, rows.flatten(0, 1), answer.repeat(n))
        p, logit = (torch.where(at_last, new.view(n, -1), old) for new, old in zip(found, (p, logit), strict=True))
        return p, logit
    del rows
    first = torch.tensor(below, device=decoder.device) * s.n_heads
    everyone = (first[:, None] + torch.arange(s.n_heads, device=decoder.device)).flatten()
    places = torch.arange(len(everyone), device=decoder.device)
    read_senders_(decoder, clean, length, answer, pos, receivers, values, max_rows, everyone, places, p, logit)
    return p, logit


def read_senders_(
    decoder: Decoder,
    clean: CleanRun,
    length: Int[Tensor, " prompt"],
    answer: Int[Tensor, " prompt"],
    pos: Int[Tensor, " prompt"],
    receivers: Receivers,
    values: ReceiverValues,
    max_rows: int,
    senders: Int[Tensor, " chosen"],
    places: Int[Tensor, " chosen"],
    p: Float[Tensor, "sender prompt"],
    logit: Float[Tensor, "sender prompt"],
) -> None:
    """Pass 2 for chosen senders (ascending, below the last receiver): their rows of p and logit, in place.

    places: the senders' rows in pass 1's values, in p and in logit.
    """
    for group in suffix_groups(pos, length - 1):
        for block, final in receiver_paths(decoder, clean, group, receivers, values, max_rows, senders, places):
            target = answer[group.prompts].repeat(len(block))
            found = answer_probability(decoder, final.flatten(0, 1), target)
            at, shape = (block[:, None], group.prompts[None]), (len(block), len(group.prompts))
            p[at], logit[at] = found[0].view(shape), found[1].view(shape)


def run_search(
    decoder: Decoder,
    ids: Int[Tensor, "prompt pos"],
    length: Int[Tensor, " prompt"],
    answer: Int[Tensor, " prompt"],
    pos: Int[Tensor, " prompt"],
    corrupted: Float[Tensor, "prompt layer head d_head"],
    receivers: Receivers | None,
    max_rows: int = MAX_ROWS,
    layers: Sequence[int] | None = None,
) -> tuple[Float[Tensor, "sender prompt"], Float[Tensor, "sender prompt"]]:
    """`patched_answers` from token ids."""
    return patched_answers(
        decoder, run_clean(decoder, ids, KEPT), length, answer, pos, corrupted, receivers, max_rows, layers
    )
