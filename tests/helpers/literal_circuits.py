"""The slow, literal way: whole prompts through transformers with hooks on every layer's output projection."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.helpers.anatomy import output_projections


@contextmanager
def edited_heads(model: PreTrainedModel, edit: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """Replace the head outputs z [prompt, pos, head, d_head] of each layer by edit(layer, z)."""

    def hook_for(layer: int):
        def hook(module, inputs):
            z = inputs[0]
            shape = (*z.shape[:2], model.config.num_attention_heads, -1)
            return (edit(layer, z.view(shape)).reshape(z.shape),)

        return hook

    handles = [
        module.register_forward_pre_hook(hook_for(layer)) for layer, module in enumerate(output_projections(model))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def last_logits(model: PreTrainedModel, ids: np.ndarray, length: np.ndarray) -> Tensor:
    """Logits at each prompt's last token, [prompt, vocab]."""
    tokens = torch.as_tensor(ids)
    with torch.no_grad():
        logits = model(tokens, use_cache=False).logits
    return logits[torch.arange(len(tokens)), torch.as_tensor(length) - 1]


def head_outputs(model: PreTrainedModel, ids: np.ndarray) -> Tensor:
    """Head outputs of the unedited model, [prompt, pos, layer, head, d_head]."""
    seen: list[Tensor] = []

    def record(layer: int, z: Tensor) -> Tensor:
        seen.append(z.clone())
        return z

    with edited_heads(model, record), torch.no_grad():
        model(torch.as_tensor(ids), use_cache=False)
    return torch.stack(seen, 2)


def literal_circuit(
    model: PreTrainedModel,
    ids: np.ndarray,
    length: np.ndarray,
    positions: np.ndarray,
    mask: np.ndarray,
    means: Tensor,
) -> Tensor:
    """Logits at the last token when every head at every token gives its mean but those that `mask` keeps.

    positions [prompt, role], mask [role, layer, head], means [pos, layer, head, d_head].
    """
    n_prompts, n_pos = ids.shape

    def edit(layer: int, z: Tensor) -> Tensor:
        keep = torch.zeros(n_prompts, n_pos, z.shape[2], dtype=torch.bool)
        keep[np.arange(n_prompts)[:, None], positions] = torch.as_tensor(mask[:, layer])
        return torch.where(keep[..., None], z, means[:n_pos, layer][None])

    with edited_heads(model, edit):
        return last_logits(model, ids, length)


def literal_knockout(
    model: PreTrainedModel,
    ids: np.ndarray,
    length: np.ndarray,
    positions: np.ndarray,
    mask: np.ndarray,
    means: Tensor,
) -> Tensor:
    """Logits at the last token of the intact model where only the heads in `mask` give their mean."""
    n_prompts = len(ids)

    def edit(layer: int, z: Tensor) -> Tensor:
        z = z.clone()
        for role in range(positions.shape[1]):
            for head in np.flatnonzero(mask[role, layer]):
                for prompt in range(n_prompts):
                    z[prompt, positions[prompt, role], head] = means[positions[prompt, role], layer, head]
        return z

    with edited_heads(model, edit):
        return last_logits(model, ids, length)
