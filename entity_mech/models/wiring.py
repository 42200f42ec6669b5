"""What a model does inside, recorded once by hooks on its own code: `entity_mech/engine/guards.py` compares with it.

Equal logits do not prove that an engine patches what it says it patches. So the record holds head outputs, streams,
what attention adds, and logits under two interventions. Vectors are kept as one number each, their `signature`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from entity_mech.models.families.table import prepared
from entity_mech.models.logit_check import N_WORDS, probe_ids, rounded, spread_out

EditZ = Callable[[int, Tensor], Tensor]  # (layer, head outputs [prompt, pos, head, d_head]) -> the same, edited


def signature(x: Tensor) -> Tensor:
    """One number for each vector on the last axis, which depends on all its entries and their order."""
    return x.double() @ torch.cos(torch.arange(x.shape[-1], device=x.device, dtype=torch.float64))


def wiring_prompts(vocab: int, max_position: int) -> Tensor:
    """Two prompts [2, pos] that differ in every token but the last, so that what heads give there is all they are."""
    ids = torch.tensor(probe_ids(vocab, max_position))
    return torch.stack((ids, torch.cat((ids[:-1].flip(0), ids[-1:]))))


def edited_pair(info: Mapping[str, Any]) -> tuple[int, tuple[int, int]]:
    """The layer and the two heads that are edited: in the middle, so that something lies on both sides."""
    return int(info["n_layers"]) // 2, (0, int(info["n_heads"]) - 1)


def silenced(n_heads: int) -> list[slice]:
    """Heads that give nothing: none, the first half, the second half, all."""
    half = n_heads // 2
    return [slice(0, 0), slice(0, half), slice(half, n_heads), slice(0, n_heads)]


def silence(z: Tensor, heads: slice) -> Tensor:
    """Head outputs [*rows, head, d_head] with some at zero."""
    z = z.clone()
    z[..., heads, :] = 0
    return z


def record_wiring(model: Any, info: Mapping[str, Any]) -> dict[str, Any]:
    """Run a transformers model on two prompts and under edits of two heads' outputs.

    Returns, ready for JSON: `z` [layer][head] and `streams` [layer + 1] at the first prompt's last token, as
    signatures; `middles`, the stream after attention of the edited layer with all heads, either half of them and
    none (`silenced`); `additive`, whether what attention adds there is a sum; `words`, and the logits of `direct`
    (one head replaced at the last token by the other prompt's, all other attention frozen) and of `patched` (two
    replaced in the middle, all else run again).
    """
    watched = _Watched(model, info)
    ids = wiring_prompts(info["vocab"], info["max_position"]).to(watched.device)
    layer, (first, second) = edited_pair(info)
    clean = watched.run(ids)
    words = spread_out(min(N_WORDS, info["vocab"]), info["vocab"])
    n_pos = ids.shape[1]

    def replaced(heads: tuple[int, ...], pos: int) -> EditZ:
        """The first prompt's heads give at a token what the second prompt's give there."""

        def edit(at: int, z: Tensor) -> Tensor:
            if at == layer:
                z = z.clone()
                z[0, pos, list(heads)] = clean.z[layer][1, pos, list(heads)]
            return z

        return edit

    def frozen(heads: tuple[int, ...]) -> EditZ:
        edit = replaced(heads, -1)
        return lambda at, _: edit(at, clean.z[at])  # whatever this run makes, heads give what they gave

    def muted(heads: slice) -> EditZ:
        return lambda at, z: silence(z, heads) if at == layer else z

    middles, added = [], []
    for heads in silenced(info["n_heads"]):
        run = watched.run(ids, muted(heads), mute=layer)
        middles.append(run.streams[layer + 1][0, -1])
        added.append(middles[-1] - run.streams[layer][0, -1])
    gap = added[3] - added[1] - added[2] + added[0]
    direct, patched = watched.run(ids, frozen((first,))), watched.run(ids, replaced((first, second), n_pos // 2))
    return {
        "z": rounded(signature(torch.stack([z[0, -1] for z in clean.z]))),
        "streams": rounded(signature(torch.stack([x[0, -1] for x in clean.streams]))),
        "middles": rounded(signature(torch.stack(middles))),
        "additive": bool(gap.norm() <= 1e-2 * added[0].norm()) if first < second else None,
        "words": words,
        "direct": rounded(direct.logits[0, -1, words]),
        "patched": rounded(patched.logits[0, -1, words]),
        "spread": rounded(clean.logits[0].max() - clean.logits[0].min()),
    }


class _Run:
    """Head outputs [prompt, pos, head, d_head] and streams before each layer and after the last, and logits."""

    def __init__(self) -> None:
        self.z: list[Tensor] = []
        self.streams: list[Tensor] = []
        self.logits = torch.empty(0)


class _Watched:
    """A transformers model with hooks on its layers and output projections, which its family names."""

    def __init__(self, model: Any, info: Mapping[str, Any]) -> None:
        names = prepared(info).family.layout
        self.model, self.n_heads = model, int(info["n_heads"])
        self.layers = [model.get_submodule(names.layer.format(i)[:-1]) for i in range(info["n_layers"])]
        self.outs = [layer.get_submodule(names.out) for layer in self.layers]
        self.device = next(model.parameters()).device

    def run(self, ids: Tensor, edit: EditZ = lambda _, z: z, mute: int | None = None) -> _Run:
        """One forward pass; `mute`: a layer whose MLP gives nothing."""
        found = _Run()
        with self._hooks(found, edit, mute), torch.no_grad():
            found.logits = self.model(ids, use_cache=False).logits.float()
        return found

    @contextmanager
    def _hooks(self, found: _Run, edit: EditZ, mute: int | None) -> Iterator[None]:
        def see_z(layer: int) -> Callable[..., Any]:
            def hook(_: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
                z = edit(layer, args[0].unflatten(-1, (self.n_heads, -1)))
                found.z.append(z)
                return (z.flatten(-2),)

            return hook

        def see_stream(_: nn.Module, args: tuple[Any, ...], given: Any) -> None:
            if not found.streams:
                found.streams.append(args[0])
            found.streams.append(given[0] if isinstance(given, tuple) else given)

        handles = [out.register_forward_pre_hook(see_z(i)) for i, out in enumerate(self.outs)]
        handles += [layer.register_forward_hook(see_stream) for layer in self.layers]
        if mute is not None:
            muted = self.layers[mute].get_submodule("mlp")
            handles.append(muted.register_forward_hook(lambda _, __, given: torch.zeros_like(given)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
