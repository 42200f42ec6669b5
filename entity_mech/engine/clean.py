"""The clean run: one ordinary forward pass that keeps what later runs can reuse."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from entity_mech.engine.ops import add_mlp_, causal_attention, logits, rotate, split_qkv
from entity_mech.engine.packed import linear
from entity_mech.errors import UserError
from entity_mech.models.decoder import Decoder

EVERYTHING = frozenset({"pre", "mid", "attn_out", "z", "q", "k", "v"})


@dataclass
class CleanRun:
    """Kept activations, one list entry a layer; a list that was not asked for is empty.

    pre, mid, attn_out: residual stream before the layer, after attention, and what attention added,
    [prompt, pos, d_model]. z: head outputs [prompt, pos, head, d_head]. q [prompt, head, pos, d_head] and
    k [prompt, kv_head, pos, d_head] are rotated, v is [prompt, kv_head, pos, d_head].
    """

    ids: Int[Tensor, "prompt pos"]
    pre: list[Tensor] = field(default_factory=list)
    mid: list[Tensor] = field(default_factory=list)
    attn_out: list[Tensor] = field(default_factory=list)
    z: list[Tensor] = field(default_factory=list)
    q: list[Tensor] = field(default_factory=list)
    k: list[Tensor] = field(default_factory=list)
    v: list[Tensor] = field(default_factory=list)
    final: Tensor | None = None

    def last(self, length: Int[Tensor, " prompt"]) -> Float[Tensor, "prompt d_model"]:
        """Final residual stream at each prompt's last token."""
        assert self.final is not None
        return self.final[torch.arange(len(length), device=self.final.device), length - 1]


def to_ids(decoder: Decoder, ids: np.ndarray) -> Int[Tensor, "..."]:
    """Token ids, positions or lengths as a tensor on the model's device."""
    return torch.as_tensor(np.asarray(ids), dtype=torch.long, device=decoder.device)


def run_clean(
    decoder: Decoder,
    ids: Int[Tensor, "prompt pos"],
    keep: Collection[str] = EVERYTHING,
    last_layer: int | None = None,
) -> CleanRun:
    """Run whole prompts, right-padded (the causal mask keeps padding out of real tokens).

    With `last_layer` the run stops once that layer's head outputs are known; `final` is then None.
    Raises UserError when a prompt is longer than the model's positions.
    """
    s = decoder.shape
    n_pos = ids.shape[1]
    if n_pos > s.max_position:
        raise UserError(f"model {decoder.name}: a prompt has {n_pos} tokens, and it has {s.max_position} positions")
    run = CleanRun(ids)
    cos, sin = decoder.rotary_cos[:n_pos, None], decoder.rotary_sin[:n_pos, None]
    x = decoder.embedding[ids]
    for layer, w in enumerate(decoder.layers):
        q, k, v = split_qkv(decoder, layer, x)
        q, k, v = rotate(q, cos, sin).transpose(1, 2), rotate(k, cos, sin).transpose(1, 2), v.transpose(1, 2)
        z = causal_attention(decoder, q, k, v).transpose(1, 2)
        attn_out = linear(z.flatten(2), w.out, w.out_bias)
        mid = x + attn_out
        made = {"pre": x, "mid": mid, "attn_out": attn_out, "z": z, "q": q, "k": k, "v": v}
        for name in keep:
            getattr(run, name).append(made[name].contiguous())
        if layer == last_layer:
            return run
        x = mid.clone()
        add_mlp_(decoder, layer, x.view(-1, s.d_model))
    run.final = x
    return run


def run_logits(decoder: Decoder, ids: Int[Tensor, "prompt pos"]) -> Float[Tensor, "prompt pos vocab"]:
    """Logits at every position of whole prompts."""
    final = run_clean(decoder, ids, keep=()).final
    assert final is not None
    return logits(decoder, final)
