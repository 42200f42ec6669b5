"""Heads of a donor in another model, the slow way: whole prompts through transformers, hooks on its modules."""

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tests.helpers.anatomy import layers_of, output_projections
from tests.helpers.literal_circuits import head_outputs, last_logits
from tests.helpers.random_models import exact_norms


def layer_inputs(model: PreTrainedModel, ids: np.ndarray) -> list[Tensor]:
    """The residual stream before every layer of the unedited model, [prompt, pos, d_model] each."""
    seen: list[Tensor] = []
    hooks = [
        block.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone())) for block in layers_of(model)
    ]
    with torch.no_grad(), exact_norms():
        model(torch.as_tensor(ids), use_cache=False)
    for hook in hooks:
        hook.remove()
    return seen


def outputs_on_inputs(donor: PreTrainedModel, inputs: Sequence[Tensor], ids: np.ndarray) -> Tensor:
    """The donor's head outputs when each of its layers reads these inputs, [prompt, pos, layer, head, d_head]."""
    hooks = [
        block.register_forward_pre_hook(lambda _, given, x=x: (x, *given[1:]))
        for block, x in zip(layers_of(donor), inputs, strict=True)
    ]
    with exact_norms():
        found = head_outputs(donor, ids)
    for hook in hooks:
        hook.remove()
    return found


def _weight(projection: torch.nn.Module) -> Tensor:
    """[out, in], as torch.nn.Linear has it."""
    return projection.weight.T if isinstance(projection, Conv1D) else projection.weight


def literal_contributions(
    target: PreTrainedModel,
    donor: PreTrainedModel,
    prompts,
    heads: Sequence[tuple[str, int, int]],
    outputs: Tensor,
) -> Tensor:
    """Logits at the last token [prompt, vocab] with what some heads add replaced by what the donor's would.

    outputs [prompt, pos, layer, head, d_head]: the donor's, which pass through the donor's output projection.
    """
    rows = torch.arange(len(prompts))
    d_head = outputs.shape[-1]

    def hook(layer):
        mine = [(torch.as_tensor(prompts.roles[role]), head) for role, at, head in heads if at == layer]
        own, other = (_weight(output_projections(model)[layer]) for model in (target, donor))

        def edit(_, given, added):
            added = added.clone()
            for at, head in mine:
                part = slice(head * d_head, (head + 1) * d_head)
                added[rows, at] -= given[0][rows, at, part] @ own[:, part].T
                added[rows, at] += outputs[rows, at, layer, head] @ other[:, part].T
            return added

        return edit

    with ExitStack() as stack:
        stack.enter_context(exact_norms())
        for layer, projection in enumerate(output_projections(target)):
            stack.callback(projection.register_forward_hook(hook(layer)).remove)
        return last_logits(target, prompts.ids, prompts.length)
