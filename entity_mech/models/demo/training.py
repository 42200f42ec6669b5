"""What pre-training and fine-tuning share: architecture, batches, the optimizer's step, share_right on boxes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from entity_mech.models.demo.corpus import ALL_WORDS, Example, box_context, box_question, encode_marked
from entity_mech.models.demo.vocabulary import BOS, EOS, PAD, vocabulary

Text = Callable[[random.Random], str]


@dataclass(frozen=True)
class Batch:
    """Right-padded token ids and the answer mask, both [prompt, pos]."""

    ids: Tensor
    is_answer: Tensor


@dataclass(frozen=True)
class Step:
    """One step: mean cross-entropy (nats) of the answers and of all tokens; share of first answers right."""

    answer_loss: float
    token_loss: float
    first_right: float


@dataclass(frozen=True)
class BoxPrompts:
    """Box prompts of one length, up to the answer: ids [prompt, pos], answer [prompt], segment [prompt]."""

    ids: Tensor
    answer: Tensor
    segment: Tensor


def new_model(seed: int) -> LlamaForCausalLM:
    """An untrained Llama of 4 layers with 4 heads each, d_model 64.

    All embeddings share one random component, which gives queries and keys something constant to attend by
    position with.
    """
    vocab = vocabulary()
    config = LlamaConfig(
        vocab_size=len(vocab),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        rms_norm_eps=1e-6,
        initializer_range=0.02,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=vocab[BOS],
        eos_token_id=vocab[EOS],
        pad_token_id=vocab[PAD],
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight += 0.02 * torch.randn(config.hidden_size)
    return model


def collate(examples: Sequence[Example]) -> Batch:
    """Pad examples on the right to the longest."""
    longest = max(len(example.ids) for example in examples)
    pad = vocabulary()[PAD]
    ids = [example.ids + [pad] * (longest - len(example.ids)) for example in examples]
    is_answer = [example.is_answer + [False] * (longest - len(example.ids)) for example in examples]
    return Batch(torch.tensor(ids), torch.tensor(is_answer))


def sorted_batches(text: Text, rng: random.Random, size: int, group: int = 4) -> Iterator[Batch]:
    """Endless batches of `size` texts, `group` at a time, cut by length so that little is padding."""
    while True:
        examples = sorted(
            (encode_marked(text(rng)) for _ in range(group * size)), key=lambda example: len(example.ids)
        )
        batches = [collate(examples[k * size : (k + 1) * size]) for k in range(group)]
        rng.shuffle(batches)
        yield from batches


def take_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    learning_rate: float,
    token_weight: float,
) -> Step:
    """Descend once on the answers' mean loss + `token_weight` * all tokens' (gradients clipped to 1)."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    logits = model(input_ids=batch.ids, use_cache=False).logits[:, :-1]
    targets, is_answer = batch.ids[:, 1:], batch.is_answer[:, 1:]
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    is_token = targets != vocabulary()[PAD]
    answer_loss = (loss * is_answer).sum() / is_answer.sum().clamp(min=1)
    token_loss = (loss * is_token).sum() / is_token.sum()
    torch.autograd.backward(answer_loss + token_weight * token_loss)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return Step(answer_loss.item(), token_loss.item(), first_answers_right(logits, targets, is_answer))


def first_answers_right(logits: Tensor, targets: Tensor, is_answer: Tensor) -> float:
    """Share of texts (those with an answer) whose first answer is the argmax."""
    asked = is_answer.any(1)
    if not asked.any():
        return float("nan")
    row, first = torch.arange(len(targets))[asked], is_answer.int().argmax(1)[asked]
    return (logits[row, first].argmax(-1) == targets[row, first]).float().mean().item()


def box_prompts(count: int, n_boxes: int, seed: int) -> BoxPrompts:
    """`count` fresh prompts with `n_boxes` boxes, every segment asked for equally often."""
    rng = random.Random(f"box prompts {seed} {n_boxes}")
    ids, answers, segments = [], [], []
    for index in range(count):
        segment = index % n_boxes
        pairs = ALL_WORDS.draw(rng, n_boxes)
        example = encode_marked(box_context(pairs) + box_question(pairs[segment]))
        end = example.is_answer.index(True)
        ids.append(example.ids[:end])
        answers.append(example.ids[end])
        segments.append(segment)
    return BoxPrompts(torch.tensor(ids), torch.tensor(answers), torch.tensor(segments))


@torch.no_grad()
def right_answers(model: torch.nn.Module, prompts: BoxPrompts, batch: int = 256) -> Tensor:
    """bool [prompt]: the argmax over the whole vocabulary is the queried object."""
    was_training = model.training
    model.eval()
    best = [
        model(input_ids=rows, use_cache=False, logits_to_keep=1).logits[:, -1].argmax(-1)
        for rows in torch.split(prompts.ids, batch)
    ]
    model.train(was_training)
    return torch.cat(best) == prompts.answer


def share_right(model: torch.nn.Module, prompts: BoxPrompts) -> float:
    """Share of prompts answered right."""
    return right_answers(model, prompts).float().mean().item()


class Clock:
    """Progress lines with the time spent and an estimate of what is left."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.start = label, total, time.monotonic()

    def line(self, done: int, text: str) -> None:
        """Print how far `label` is."""
        spent = time.monotonic() - self.start
        left = spent / max(done, 1) * max(self.total - done, 0)
        print(f"{self.label} {done}/{self.total}, {spent:.0f} s, about {left:.0f} s left: {text}", flush=True)
