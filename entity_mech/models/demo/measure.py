"""What a demo model can do: accuracy on boxes, and how much of it passes through two tokens' heads."""

from __future__ import annotations

import random
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from entity_mech.models.demo.training import BoxPrompts, box_prompts, right_answers, share_right
from entity_mech.models.demo.vocabulary import LABELS, vocabulary

BOXES = range(2, 8)
MEASURE_SEED = 20_000
SEGMENT_PROMPTS = 500


@dataclass(frozen=True)
class Measurement:
    """Accuracy with 7 boxes, by queried segment, by number of boxes, and through two tokens' heads alone."""

    accuracy: float
    by_segment: list[float]
    by_boxes: dict[int, float]
    two_tokens: float
    prompts: int

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, rounded to four decimals."""
        return {
            "accuracy": round(self.accuracy, 4),
            "accuracy_by_segment": [round(value, 4) for value in self.by_segment],
            "accuracy_by_boxes": {str(boxes): round(value, 4) for boxes, value in self.by_boxes.items()},
            "accuracy_through_last_and_previous_label": round(self.two_tokens, 4),
            "prompts": self.prompts,
            "prompts_seed": MEASURE_SEED,
        }


def load(folder: Path, base: Path) -> LlamaForCausalLM:
    """A shipped model in fp32, ready to run; an adapter is merged into `base`."""
    if not (folder / "adapter_config.json").exists():
        return cast(LlamaForCausalLM, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))
    adapted = PeftModel.from_pretrained(load(base, base), folder)
    return cast(LlamaForCausalLM, adapted.merge_and_unload())


def measure(model: LlamaForCausalLM, prompts_per_segment: int = SEGMENT_PROMPTS) -> Measurement:
    """Measure on fresh prompts: `prompts_per_segment` for each of 7 segments, twice that for fewer boxes."""
    prompts = box_prompts(7 * prompts_per_segment, 7, MEASURE_SEED)
    right = right_answers(model, prompts).float()
    by_boxes = {n: share_right(model, box_prompts(2 * prompts_per_segment, n, MEASURE_SEED)) for n in BOXES if n < 7}
    return Measurement(
        accuracy=right.mean().item(),
        by_segment=[right[prompts.segment == segment].mean().item() for segment in range(7)],
        by_boxes={**by_boxes, 7: right.mean().item()},
        two_tokens=accuracy_through_two_tokens(model, prompts),
        prompts=len(right),
    )


def accuracy_through_two_tokens(model: LlamaForCausalLM, prompts: BoxPrompts) -> float:
    """Accuracy when every head's output is its mean, except at the last token and at the queried segment's
    label.

    The means are per position, over other prompts whose query label is any letter.
    """
    means = head_output_means(model, box_prompts(1000, 7, MEASURE_SEED + 1))
    length = prompts.ids.shape[1]
    query_label = prompts.ids[:, length - 3]
    previous_label = (prompts.ids == query_label[:, None]).int().argmax(1)
    keep = torch.zeros(prompts.ids.shape, dtype=torch.bool)
    keep[:, -1] = True
    keep[torch.arange(len(keep)), previous_label] = True
    right = []
    for rows, kept, answer in zip(
        *(torch.split(part, 256) for part in (prompts.ids, keep, prompts.answer)), strict=True
    ):
        with ExitStack() as hooks, torch.no_grad():
            for layer, mean in zip(model.model.layers, means, strict=True):
                hooks.callback(layer.self_attn.o_proj.register_forward_pre_hook(replace_by(mean, kept)).remove)
            right.append(model(input_ids=rows, use_cache=False, logits_to_keep=1).logits[:, -1].argmax(-1) == answer)
    return torch.cat(right).float().mean().item()


def replace_by(mean: Tensor, kept: Tensor) -> Any:
    """A hook that sets head outputs to `mean` [pos, head * d_head] where `kept` [prompt, pos] is false."""

    def hook(module: torch.nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (torch.where(kept[..., None], inputs[0], mean[None]),)

    return hook


@torch.no_grad()
def head_output_means(model: LlamaForCausalLM, prompts: BoxPrompts) -> list[Tensor]:
    """Mean head outputs of each layer, [pos, head * d_head], with the query labels drawn from all letters."""
    rng, vocab, ids = random.Random(MEASURE_SEED), vocabulary(), prompts.ids.clone()
    ids[:, -3] = torch.tensor([vocab[rng.choice(LABELS)] for _ in range(len(ids))])
    means: list[Tensor] = []
    with ExitStack() as hooks:
        for layer in model.model.layers:
            hooks.callback(
                layer.self_attn.o_proj.register_forward_pre_hook(
                    lambda module, inputs: means.append(inputs[0].mean(0))
                ).remove
            )
        model(input_ids=ids, use_cache=False, logits_to_keep=1)
    return means
