"""Pre-training of the base: from bare lists to box sentences, by lessons that end when they are learned.

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
from entity_mech.models.demo.corpus import WordPool, encode_marked
from entity_mech.models.demo.training import (
    Batch,
    Clock,
    box_prompts,
    collate,
    new_model,
    share_right,
    sorted_batches,
    take_step,
)
from entity_mech.models.demo.vocabulary import LABELS, objects

WARM_UP = 40


@dataclass(frozen=True)
class Lesson:
    """One lesson: which kinds of text in which shares, and when it ends.

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
class LessonRecord:
    """What a lesson took: steps, and the 7-box accuracy at its end."""

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
LESSONS = (
    Lesson(
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
    Lesson(
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
    Lesson(
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
    Lesson(
        "mixture, mostly few boxes",
        MIXTURE,
        boxes=(2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7),
        learning_rate=2e-3,
        token_weight=0.5,
        learned=0.25,
        check_every=5,
    ),
    Lesson(
        "mixture, slowly",
        MIXTURE,
        boxes=(2, 3, 4, 5, 6, 7),
        learning_rate=2e-4,
        token_weight=0.5,
        learned=0.66,
        check_every=10,
    ),
)


def compose_text(kind: str, lesson: Lesson, words: WordPool, rng: random.Random) -> str:
    """One text of a kind, as long as the lesson has them."""
    n = rng.choice(lesson.boxes or (2, 3, 4))
    early = not lesson.mixed
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


def lesson_batches(lesson: Lesson, rng: random.Random, size: int) -> Iterator[tuple[str, Batch]]:
    """Endless (kind, batch): early lessons hold one kind a batch, the mixture all kinds in each."""
    words = WordPool(few(objects(), lesson.n_objects), few(LABELS, lesson.n_labels))
    kinds, weights = list(lesson.kinds), list(lesson.kinds.values())

    def any_text(rng: random.Random) -> str:
        return compose_text(rng.choices(kinds, weights)[0], lesson, words, rng)

    if lesson.mixed:
        for batch in sorted_batches(any_text, rng, size):
            yield "mixture", batch
    while True:
        kind = rng.choices(kinds, weights)[0]
        yield kind, collate([encode_marked(compose_text(kind, lesson, words, rng)) for _ in range(size)])


def few(pool: tuple[str, ...], size: int) -> list[str]:
    """A fixed random choice of words: the same at every seed."""
    return random.Random(7).sample(pool, min(size, len(pool)))


@dataclass
class Pretraining:
    """A pre-training run, lesson after lesson; see `pretrain`."""

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

    def run_lesson(self, lesson: Lesson, most_steps: int) -> LessonRecord:
        """Train until the lesson ends, or RuntimeError after `most_steps`."""
        clock, curve, right = Clock(f"lesson {lesson.name}", lesson.steps or most_steps), [], []
        for done, (kind, batch) in enumerate(lesson_batches(lesson, self.rng, self.batch_size), start=1):
            self.step += 1
            rate = lesson.learning_rate * min(1.0, self.step / WARM_UP)
            result = take_step(self.model, self.optimizer, batch, rate, lesson.token_weight)
            if kind == lesson.learned_kind:
                right.append(result.first_right)
            if done % lesson.check_every:
                continue
            boxes_right = share_right(self.model, self.prompts)
            curve.append((done, round(boxes_right, 3)))
            first = sum(right) / len(right) if right else result.first_right
            clock.line(done, f"first answers {first:.2f}, 7 boxes {boxes_right:.3f}, loss {result.token_loss:.2f}")
            if self.ended(lesson, done, boxes_right, right):
                return LessonRecord(lesson.name, done, round(boxes_right, 3), curve)
            if done >= most_steps:
                raise RuntimeError(f"lesson {lesson.name!r} was not learned in {most_steps} steps; try another seed")
            right = []
        raise AssertionError("batches never end")

    @staticmethod
    def ended(lesson: Lesson, done: int, boxes_right: float, right: list[float]) -> bool:
        """Whether a lesson's own condition holds at a check."""
        if lesson.steps is not None:
            return done >= lesson.steps
        if lesson.learned_kind is None:
            return boxes_right >= lesson.learned
        return bool(right) and sum(right) / len(right) >= lesson.learned


def pretrain(
    seed: int, lessons: tuple[Lesson, ...] = LESSONS, most_steps: int = 6000
) -> tuple[LlamaForCausalLM, list[LessonRecord]]:
    """Train a base from scratch. RuntimeError when a lesson takes over `most_steps` steps."""
    run = Pretraining(new_model(seed), seed)
    return run.model, [run.run_lesson(lesson, most_steps) for lesson in lessons]
