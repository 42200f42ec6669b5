"""Head patching the slow way: whole prompts through transformers, hooks on every output projection."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.helpers.literal_circuits import edited_heads
from tests.helpers.random_models import exact_norms


def literal_patched(
    model: PreTrainedModel,
    ids: Tensor,
    last: Tensor,
    edits: Sequence[tuple[int, Tensor, Sequence[int], Tensor, Tensor]],
) -> Tensor:
    """Logits at each prompt's last token [prompt, vocab], with gradients.

    edits: (layer, positions [prompt], heads, values [prompt, n_heads, d_head], weights [n_heads]); a head's
    output becomes weight * (what it is in this run) + (1 - weight) * value.
    """
    rows = torch.arange(len(ids))

    def edit(layer: int, z: Tensor) -> Tensor:
        for at, positions, heads, values, weights in edits:
            if at != layer:
                continue
            z = z.clone()
            for i, head in enumerate(heads):
                base = z[rows, positions, head]
                z[rows, positions, head] = weights[i] * base + (1 - weights[i]) * values[:, i]
        return z

    with ExitStack() as stack:
        if model.dtype == torch.float64:
            stack.enter_context(exact_norms())
        stack.enter_context(edited_heads(model, edit))
        logits = model(ids, use_cache=False).logits
    return logits[rows, last]
