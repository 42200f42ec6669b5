"""Attention of suffix tokens: many variants of a prompt's end against one clean prefix, expanded, not copied."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entity_mech.engine.block import capped, pattern_of
from entity_mech.models.decoder import Decoder


def suffix_attention(
    decoder: Decoder,
    layer: int,
    q: Float[Tensor, "sender prompt n_query head d_head"],
    k: Float[Tensor, "sender prompt n_pos kv_head d_head"],
    v: Float[Tensor, "sender prompt n_pos kv_head d_head"],
    prefix: tuple[Float[Tensor, "prompt kv_head n_prefix d_head"], Float[Tensor, "prompt kv_head n_prefix d_head"]],
    hidden: Bool[Tensor, "senders prompt n_query n_prefix"] | None = None,
) -> Float[Tensor, "sender prompt n_query head d_head"]:
    """Head outputs of the last n_query of n_pos suffix tokens, which follow the prefix; q and k are rotated.

    Scores against the prefix are one matrix product a (prompt, kv_head) for all senders at once. hidden: prefix
    tokens that a query may not see (1 stands for all senders). prefix: its keys, rotated, and its values.
    """
    s, (prefix_k, prefix_v) = decoder.shape, prefix
    n_sender, n_prompt, n_query = q.shape[:3]
    n_pos, n_prefix = k.shape[2], prefix_k.shape[2]
    queries = (q * decoder.block.scale).view(n_sender, n_prompt, n_query, s.n_kv_heads, s.group, s.d_head)
    queries = queries.permute(1, 3, 0, 4, 2, 5)  # prompt kv_head sender group n_query d_head
    flat = queries.reshape(n_prompt, s.n_kv_heads, -1, s.d_head)
    by_sender = flat.view(n_prompt, s.n_kv_heads, n_sender, s.group * n_query, s.d_head)
    keys, values = k.permute(1, 3, 0, 2, 4), v.permute(1, 3, 0, 2, 4)  # prompt kv_head sender n_pos d_head

    scores = (flat @ prefix_k.transpose(-1, -2)).view(*by_sender.shape[:-1], n_prefix)
    scores = capped(scores, decoder.block.score_cap)
    own = (by_sender * keys).sum(-1, keepdim=True) if n_pos == 1 else by_sender @ keys.transpose(-1, -2)
    own = capped(own, decoder.block.score_cap)
    unseen, future = _unseen(decoder, layer, (n_prefix, n_pos, n_query), q.device)
    if unseen is not None:
        scores.unflatten(3, (s.group, n_query)).masked_fill_(unseen, -torch.inf)
    if hidden is not None:
        by_query = scores.unflatten(3, (s.group, n_query))
        by_query.masked_fill_(hidden.transpose(0, 1)[:, None, :, None], -torch.inf)
    if future is not None:
        own.unflatten(-2, (s.group, n_query)).masked_fill_(future, -torch.inf)
    scores = torch.cat((scores, own), -1)
    pattern = pattern_of(scores)
    before = pattern[..., :n_prefix].flatten(2, 3) @ prefix_v
    z = before.view(by_sender.shape)
    within = pattern[..., n_prefix:]
    z = z + (within * values if n_pos == 1 else within @ values)
    z = z.view(n_prompt, s.n_kv_heads, n_sender, s.group, n_query, s.d_head)
    return z.permute(2, 0, 4, 1, 3, 5).reshape(n_sender, n_prompt, n_query, s.n_heads, s.d_head)


def _unseen(
    decoder: Decoder, layer: int, sizes: tuple[int, int, int], device: torch.device
) -> tuple[Bool[Tensor, "n_query n_prefix"] | None, Bool[Tensor, "n_query n_pos"] | None]:
    """Prefix tokens that lie beyond the queries' window, and suffix tokens that lie after them or beyond it.

    sizes: of the prefix, of the suffix, and of the queries at its end. None where everything is seen.
    """
    n_prefix, n_pos, n_query = sizes
    window = decoder.block.windows[layer]
    if window is None or window >= n_prefix + n_pos:
        if n_query == 1:
            return None, None
        return None, torch.ones(n_query, n_pos, dtype=torch.bool, device=device).triu(n_pos - n_query + 1)
    query = torch.arange(n_pos - n_query, n_pos, device=device)[:, None]
    own = query - torch.arange(n_pos, device=device)
    before = query + n_prefix - torch.arange(n_prefix, device=device)
    return before >= window, (own < 0) | (own >= window)
