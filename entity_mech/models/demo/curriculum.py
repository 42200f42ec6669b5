"""Pre-training of the base: from bare lists to box sentences, by stages that end when they are learned.

Box sentences from the start never leave chance in a model of this size. Recall in dense lists is learned
first; then the whole vocabulary; then texts of all kinds but boxes; and last the mixture that the base is made
for, box sentences among it. Box sentences are learned within some fifty steps: the learning rate falls as soon
as they begin to be, and training stops part-way, so that the base can do the task but a fine-tune can still
improve on it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from transformers import LlamaForCausalLM

from entity_mech.models.demo import corpus
from entity_mech.models.demo.corpus import Words, encode
from entity_mech.models.demo.training import (
    Batch,
    Clock,
    accuracy,
    box_prompts,
    collate,
    new_model,
    sorted_batches,
    take_step,
)
from entity_mech.models.demo.vocabulary import LABELS, objects

WARM_UP = 40


@dataclass(frozen=True)
class Stage:
    """One stage: which kinds of text in which shares, and when it ends.

    It ends after `steps` where that is given. Else texts of the kind `learned_kind` must have their first answer
    right in a share `learned` of cases since the last check; or, without such a kind, the accuracy on 7-box
    prompts must reach `learned`.
    """

    name: str
    kinds: dict[str, float]
    boxes: tuple[int, ...]
    learning_rate: float
    token_weight: float
    learned: float = 1.0
    learned_kind: str | None = None
    steps: int | None = None
    check_every: int = 100
    mixed: bool = True  # all kinds in each batch, or one kind a batch
    n_objects: int = 85
    n_labels: int = 26


@dataclass
class StageRecord:
    """What a stage took: steps, and the 7-box accuracy at its end."""

    name: str
    steps: int
    box_accuracy: float
    curve: list[tuple[int, float]] = field(default_factory=list)


MIXTURE = {
    "telegraphic_boxes": 0.25,
    "boxes": 0.05,
    "box_variant": 0.05,
    "comma_list": 0.1,
    "key_values": 0.12,
    "people": 0.15,
    "registers": 0.08,
    "arithmetic": 0.08,
    "chat": 0.06,
    "story": 0.03,
    "copied": 0.03,
}
STAGES = (
    Stage(
        "lists",
        {"periodic": 0.35, "object_label_list": 0.35, "label_object_list": 0.3},
        boxes=(),
        learning_rate=4e-3,
        token_weight=0.1,
        learned_kind="object_label_list",
        learned=0.85,
        mixed=False,
        n_objects=20,
        n_labels=12,
    ),
    Stage(
        "all words",
        {
            "periodic": 0.1,
            "object_label_list": 0.3,
            "label_object_list": 0.1,
            "comma_list": 0.15,
            "registers": 0.15,
            "boxes": 0.2,
        },
        boxes=(2, 3),
        learning_rate=4e-3,
        token_weight=0.1,
        learned_kind="object_label_list",
        learned=0.85,
        mixed=False,
    ),
    Stage(
        "texts without boxes",
        {
            "object_label_list": 0.12,
            "comma_list": 0.18,
            "key_values": 0.15,
            "people": 0.18,
            "registers": 0.14,
            "arithmetic": 0.1,
            "chat": 0.07,
            "story": 0.03,
            "copied": 0.03,
        },
        boxes=(),
        learning_rate=2e-3,
        token_weight=0.5,
        steps=400,
    ),
    Stage(
        "mixture, mostly few boxes",
        MIXTURE,
        boxes=(2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7),
        learning_rate=2e-3,
        token_weight=0.5,
        learned=0.25,
        check_every=5,
    ),
    Stage(
        "mixture, slowly",
        MIXTURE,
        boxes=(2, 3, 4, 5, 6, 7),
        learning_rate=2e-4,
        token_weight=0.5,
        learned=0.66,
        check_every=10,
    ),
)


def write_text(kind: str, stage: Stage, words: Words, rng: random.Random) -> str:
    """One text of a kind, as long as the stage has them."""
    n = rng.choice(stage.boxes or (2, 3, 4))
    early = not stage.mixed
    return {
        "periodic": lambda: corpus.periodic(rng, words),
        "object_label_list": lambda: corpus.dense_list(rng, words, rng.randint(2, 6)),
        "label_object_list": lambda: corpus.dense_list(rng, words, rng.randint(2, 6), label_first=True),
        "comma_list": lambda: corpus.comma_list(rng, words, rng.randint(3, 5) if early else rng.randint(2, 6)),
        "registers": lambda: corpus.registers(rng, n + 1, n + 1) if early else corpus.registers(rng, n),
        "telegraphic_boxes": lambda: corpus.telegraphic_boxes(rng, words, n),
        "boxes": lambda: corpus.boxes(rng, words, n, min(n, 3)),
        "box_variant": lambda: corpus.box_variant(rng, words, n),
        "key_values": lambda: corpus.key_values(rng, n),
        "people": lambda: corpus.people(rng, n),
        "arithmetic": lambda: corpus.arithmetic(rng),
        "chat": lambda: corpus.chat(rng),
        "story": lambda: corpus.story(rng),
        "copied": lambda: corpus.copied(rng, rng.randint(3, 10)),
    }[kind]()


def stage_batches(stage: Stage, rng: random.Random, size: int) -> Iterator[tuple[str, Batch]]:
    """Endless (kind, batch): early stages hold one kind a batch, the mixture all kinds in each."""
    words = Words(few(objects(), stage.n_objects), few(LABELS, stage.n_labels))
    kinds, weights = list(stage.kinds), list(stage.kinds.values())

    def any_text(rng: random.Random) -> str:
        return write_text(rng.choices(kinds, weights)[0], stage, words, rng)

    if stage.mixed:
        for batch in sorted_batches(any_text, rng, size):
            yield "mixture", batch
    while True:
        kind = rng.choices(kinds, weights)[0]
        yield kind, collate([encode(write_text(kind, stage, words, rng)) for _ in range(size)])


def few(pool: tuple[str, ...], size: int) -> list[str]:
    """A fixed random choice of words: the same at every seed."""
    return random.Random(7).sample(pool, min(size, len(pool)))


@dataclass
class Pretraining:
    """A pre-training run, stage after stage; see `pretrain`."""

    model: LlamaForCausalLM
    seed: int
    batch_size: int = 64
    step: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(f"pre-training {self.seed}")
        self.prompts = box_prompts(512, 7, seed=self.seed)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.05, fused=True
        )

    def run_stage(self, stage: Stage, most_steps: int) -> StageRecord:
        """Train until the stage ends, or RuntimeError after `most_steps`."""
        clock, curve, right = Clock(f"stage {stage.name}", stage.steps or most_steps), [], []
        for done, (kind, batch) in enumerate(stage_batches(stage, self.rng, self.batch_size), start=1):
            self.step += 1
            rate = stage.learning_rate * min(1.0, self.step / WARM_UP)
            result = take_step(self.model, self.optimizer, batch, rate, stage.token_weight)
            if kind == stage.learned_kind:
                right.append(result.first_right)
            if done % stage.check_every:
                continue
            boxes_right = accuracy(self.model, self.prompts)
            curve.append((done, round(boxes_right, 3)))
            first = sum(right) / len(right) if right else result.first_right
            clock.line(done, f"first answers {first:.2f}, 7 boxes {boxes_right:.3f}, loss {result.token_loss:.2f}")
            if self.ended(stage, done, boxes_right, right):
                return StageRecord(stage.name, done, round(boxes_right, 3), curve)
            if done >= most_steps:
                raise RuntimeError(f"stage {stage.name!r} was not learned in {most_steps} steps; try another seed")
            right = []
        raise AssertionError("batches never end")

    @staticmethod
    def ended(stage: Stage, done: int, boxes_right: float, right: list[float]) -> bool:
        """Whether a stage's own condition holds at a check."""
        if stage.steps is not None:
            return done >= stage.steps
        if stage.learned_kind is None:
            return boxes_right >= stage.learned
        return bool(right) and sum(right) / len(right) >= stage.learned


def pretrain(
    seed: int, stages: tuple[Stage, ...] = STAGES, most_steps: int = 6000
) -> tuple[LlamaForCausalLM, list[StageRecord]]:
    """Train a base from scratch. RuntimeError when a stage takes over `most_steps` steps."""
    run = Pretraining(new_model(seed), seed)
    return run.model, [run.run_stage(stage, most_steps) for stage in stages]
