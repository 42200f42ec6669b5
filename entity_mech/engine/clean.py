"""The clean run: one ordinary forward pass that keeps what later runs can reuse."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from entity_mech.engine.block import attention_out, causal_attention, close, embed, project, turned
from entity_mech.engine.readout import logits
from entity_mech.errors import UserError
from entity_mech.models.decoder import Decoder

EVERYTHING = frozenset({"pre", "attn_out", "z", "q", "k", "v"})


@dataclass
class CleanRun:
    """Kept activations, one list entry a layer; a list that was not asked for is empty.

    pre, attn_out: residual stream before the layer, and the result of its output projection before any norm after
    attention, [prompt, pos, d_model]. z: head outputs [prompt, pos, head, d_head]. q [prompt, head, pos, d_head] and
    k [prompt, kv_head, pos, d_head] are rotated, v is [prompt, kv_head, pos, d_head].
    """

    ids: Int[Tensor, "prompt pos"]
    pre: list[Tensor] = field(default_factory=list)
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
    n_pos, most = ids.shape[1], decoder.shape.max_position
    if n_pos > most:
        raise UserError(f"model {decoder.name}: a prompt has {n_pos} tokens, and it has {most} positions")
    run, at = CleanRun(ids), slice(n_pos)
    x = embed(decoder, ids, at)
    for layer in range(decoder.shape.n_layers):
        q, k, v = project(decoder, layer, x)
        q, k = turned(decoder, layer, q, at).transpose(1, 2), turned(decoder, layer, k, at).transpose(1, 2)
        v = v.transpose(1, 2)
        z = causal_attention(decoder, layer, q, k, v).transpose(1, 2)
        attn_out = attention_out(decoder, layer, z)
        made = {"pre": x, "attn_out": attn_out, "z": z, "q": q, "k": k, "v": v}
        for name in keep:
            getattr(run, name).append(made[name].contiguous())
        if layer == last_layer:
            return run
        x = close(decoder, layer, x, attn_out)
    run.final = x
    return run


def run_logits(decoder: Decoder, ids: Int[Tensor, "prompt pos"]) -> Float[Tensor, "prompt pos vocab"]:
    """Logits at every position of whole prompts."""
    final = run_clean(decoder, ids, keep=()).final
    assert final is not None
    return logits(decoder, final)
