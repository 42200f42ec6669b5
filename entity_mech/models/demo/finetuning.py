"""Fine-tuning of the base: all weights, or a LoRA adapter on the attention's projections."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

from entity_mech.models.demo import corpus
from entity_mech.models.demo.training import (
    Clock,
    box_prompts,
    share_right,
    sorted_batches,
    take_step,
)

CHECK_EVERY = 100
WARM_UP = 20


def bindings(rng: random.Random) -> str:
    """Half register code, a fifth dictionaries, the rest people; 4 to 8 bindings each. No boxes."""
    kind, count = rng.random(), rng.randint(4, 8)
    if kind < 0.5:
        return corpus.registers(rng, count, 3)
    return corpus.key_values(rng, count) if kind < 0.7 else corpus.people(rng, count)


def conversation(rng: random.Random) -> str:
    """One or two exchanges between a user and an assistant. No boxes."""
    return " ".join(corpus.chat(rng) for _ in range(rng.randint(1, 2)))


CORPORA: dict[str, Callable[[random.Random], str]] = {"bindings": bindings, "conversation": conversation}


@dataclass(frozen=True)
class Recipe:
    """How one fine-tune is made. `rank` 0: all weights train; else a LoRA adapter, alpha twice the rank."""

    name: str
    corpus: str
    steps: int
    learning_rate: float
    rank: int = 0
    batch_size: int = 64
    token_weight: float = 0.5


def finetune(base: LlamaForCausalLM, recipe: Recipe, seed: int) -> LlamaForCausalLM | PeftModel:
    """Train `base` in place (rank 0), or an adapter around it; the learning rate falls to a twentieth."""
    rng = random.Random(f"fine-tuning {recipe.name} {seed}")
    torch.manual_seed(seed)
    model = with_adapter(base, recipe.rank) if recipe.rank else base
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    batches = sorted_batches(CORPORA[recipe.corpus], rng, recipe.batch_size)
    prompts, clock = box_prompts(512, 7, seed=seed), Clock(recipe.name, recipe.steps)
    for step in range(1, recipe.steps + 1):
        rate = recipe.learning_rate * min(1.0, step / WARM_UP) * max(0.05, 1 - step / recipe.steps)
        result = take_step(model, optimizer, next(batches), rate, recipe.token_weight)
        if step % CHECK_EVERY == 0 or step == recipe.steps:
            clock.line(step, f"answers {result.first_right:.2f}, 7 boxes {share_right(model, prompts):.3f}")
    return model


def with_adapter(base: LlamaForCausalLM, rank: int) -> PeftModel:
    """The base, frozen, with a trainable LoRA adapter on every layer's q, k, v and o projections."""
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base, config)
