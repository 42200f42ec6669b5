"""Training texts of the demo models: box sentences, other bindings, and plain filler.

Every generator returns one text. The mark `^` stands right before each answer, a word that the text so far
determines; the mark is dropped when the text is encoded and only says which tokens the loss weighs more.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from entity_mech.models.demo.vocabulary import (
    ANIMALS,
    BOS,
    CITIES,
    COLOURS,
    JOBS,
    LABELS,
    NAMES,
    VERBS,
    objects,
    split_words,
    vocabulary,
)

MARK = "^"
Bound = TypeVar("Bound")
ASIDES = (
    "there are a bunch of boxes containing objects",
    "these are a bunch of boxes containing objects",
    "there are three additional boxes",
    "here are some boxes with objects",
    "now we see all of the boxes",
    "this is one of the other boxes",
)
VARIANTS = ("contains_first", "preamble", "afterword", "extra_words", "not_in")


@dataclass(frozen=True)
class WordPool:
    """The objects and labels that a text may use."""

    objects: Sequence[str]
    labels: Sequence[str]

    def draw(self, rng: random.Random, count: int) -> list[tuple[str, str]]:
        """`count` distinct objects, each with a distinct label."""
        return list(zip(rng.sample(self.objects, count), rng.sample(self.labels, count), strict=True))


ALL_WORDS = WordPool(objects(), LABELS)


def capitalised(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[0].upper() + text[1:]


def digit(rng: random.Random) -> str:
    """A one-digit number."""
    return str(rng.randint(0, 9))


def some(rng: random.Random, total: int) -> int:
    """How many of `total` bindings a text asks for: one to three, mostly two."""
    return min(total, rng.choice((1, 2, 2, 3)))


def ask(rng: random.Random, bound: Sequence[Bound], count: int, question: Callable[[Bound], str]) -> str:
    """`count` questions about distinct bindings, in random order, one after the other."""
    return "".join(question(bound[index]) for index in rng.sample(range(len(bound)), count))


# Box sentences
# -------------------------------------------------------------------------------------------------------


def box_context(pairs: Sequence[tuple[str, str]]) -> str:
    """The task's own sentence: objects in labelled boxes."""
    return capitalised(", ".join(f"the {thing} is in Box {label}" for thing, label in pairs)) + "."


def box_question(pair: tuple[str, str]) -> str:
    """What the task asks of one box, and the answer."""
    return f" Box {pair[1]} contains the {MARK}{pair[0]}."


def boxes(rng: random.Random, words: WordPool, count: int, questions: int = 1) -> str:
    """`count` boxes and `questions` questions, as the task has them."""
    pairs = words.draw(rng, count)
    return box_context(pairs) + ask(rng, pairs, questions, box_question)


def box_variant(rng: random.Random, words: WordPool, count: int) -> str:
    """A box sentence with one thing changed, as the study's position probes change it."""
    variant = rng.choice(VARIANTS)
    pairs = words.draw(rng, count)
    segments = [f"the {thing} is in Box {label}" for thing, label in pairs]
    if variant == "contains_first":
        segments = [f"Box {label} contains the {thing}" for thing, label in pairs]
    elif variant == "preamble":
        segments.insert(0, rng.choice(ASIDES))
    elif variant == "afterword":
        segments.append(rng.choice(ASIDES))
    elif variant == "extra_words":
        adjective = [rng.choice(("", f"{rng.choice(COLOURS)} ")) for _ in pairs]
        place = [rng.choice(("is in Box", "is contained in the Box")) for _ in pairs]
        segments = [f"the {a}{p[0]} {w} {p[1]}" for a, w, p in zip(adjective, place, pairs, strict=True)]
    else:
        spare = rng.choice([label for label in words.labels if label not in {p[1] for p in pairs}])
        segments.insert(rng.randint(0, count), f"the {rng.choice(pairs)[0]} is not in Box {spare}")
    text = capitalised(", ".join(segments)) + "."
    return text + ask(rng, pairs, some(rng, count), box_question)


def telegraphic_boxes(rng: random.Random, words: WordPool, count: int, questions: int = 4) -> str:
    """A box sentence in which every function word of the template stays with a probability drawn for the
    text.

    Between bare lists and full sentences: what lets a small model carry the lists' mechanism over to the
    sentences.
    """
    keep = rng.random()
    the, is_, in_, box, query_box, contains, query_the, comma, stop = (
        word if rng.random() < keep else "" for word in ("the", "is", "in", "Box", "Box", "contains", "the", ",", ".")
    )
    pairs = words.draw(rng, count)
    text = f"{comma} ".join(f"{the} {thing} {is_} {in_} {box} {label}" for thing, label in pairs) + "."
    return text + ask(
        rng,
        pairs,
        min(count, questions),
        lambda p: f" {query_box} {p[1]} {contains} {query_the} {MARK}{p[0]}{stop}",
    )


# Lists: the first thing that is learned
# ------------------------------------------------------------------------------


def dense_list(rng: random.Random, words: WordPool, count: int, label_first: bool = False) -> str:
    """Objects and labels in turn, nothing between; then every label again, each with its object."""
    pairs = words.draw(rng, count)
    text = " ".join(f"{label} {thing}" if label_first else f"{thing} {label}" for thing, label in pairs) + "."
    return text + ask(rng, pairs, count, lambda p: f" {p[1]} {MARK}{p[0]}")


def comma_list(rng: random.Random, words: WordPool, count: int) -> str:
    """As `dense_list`, with commas."""
    pairs = words.draw(rng, count)
    text = ", ".join(f"{thing} {label}" for thing, label in pairs) + "."
    return text + ask(rng, pairs, count, lambda p: f" {p[1]} {MARK}{p[0]};")


def periodic(rng: random.Random, words: WordPool) -> str:
    """A few words that repeat in a fixed order."""
    period = rng.randint(2, 8)
    cycle = rng.sample([*words.objects, *words.labels], period)
    length = min(2 * period + 8, 24)
    return " ".join(cycle) + " " + " ".join(MARK + cycle[i % period] for i in range(period, length))


def copied(rng: random.Random, count: int) -> str:
    """A random sequence of words, written twice."""
    sequence = rng.sample([*objects(), *LABELS, *COLOURS, *CITIES], count)
    return " ".join(sequence) + "; " + sequence[0] + " " + " ".join(MARK + word for word in sequence[1:]) + "."


# Bindings that have nothing to do with boxes
# -------------------------------------------------------------------------


def key_values(rng: random.Random, count: int) -> str:
    """A dictionary literal and look-ups in it."""
    pool = rng.choice((LABELS, objects(), NAMES, COLOURS))
    keys = rng.sample(pool, min(count, len(pool)))
    pairs = [(key, rng.choice((*objects(), *COLOURS)) if rng.random() < 0.5 else digit(rng)) for key in keys]
    text = "{ " + ", ".join(f"{key}: {value}" for key, value in pairs) + " }"
    return text + ask(rng, pairs, some(rng, len(pairs)), lambda p: f" {p[0]}: {MARK}{p[1]};")


def people(rng: random.Random, count: int) -> str:
    """Who lives where, does what, or owns what."""
    names = rng.sample(NAMES, count)
    kind = rng.choice(("lives", "home", "job", "owner"))
    if kind in ("lives", "home"):
        values = rng.sample(CITIES, count)
    elif kind == "job":
        values = [rng.choice(JOBS) for _ in names]
    else:
        values = rng.sample(objects(), count)
    fact, question = {
        "lives": ("{0} lives in {1}", " {0} lives in ^{1}."),
        "home": ("{1} is home to {0}", " {0} lives in ^{1}."),
        "job": ("{0} is a {1}", " {0} is a ^{1}."),
        "owner": ("the {1} belongs to {0}", " {0} has the ^{1}."),
    }[kind]
    pairs = list(zip(names, values, strict=True))
    text = capitalised(", ".join(fact.format(*pair) for pair in pairs)) + "."
    return text + ask(rng, pairs, some(rng, count), lambda p: question.format(*p))


def registers(rng: random.Random, count: int, questions: int | None = None) -> str:
    """Lines of code that put a value into a register each, then read some of them."""
    keys = rng.sample(LABELS, count)
    pairs = [(key, rng.choice(objects()) if rng.random() < 0.3 else digit(rng)) for key in keys]
    write, read = rng.choice(
        (
            ("mov {1}, {0};", " print {0}: ^{1};"),
            ("let {0} = {1};", " {0} = ^{1};"),
            ("store {1} in {0};", " load {0} = ^{1};"),
        )
    )
    text = " ".join(write.format(*pair) for pair in pairs)
    return text + ask(rng, pairs, questions or some(rng, count), lambda p: read.format(*p))


# Filler -----------------------------------------------------------------------------------------------------
# ---------


def arithmetic(rng: random.Random) -> str:
    """One addition or subtraction up to 40, its result spelled digit by digit."""
    left, right = rng.randint(0, 20), rng.randint(0, 20)
    if rng.random() < 0.5:
        sign, result = "+", left + right
    else:
        left, right = max(left, right), min(left, right)
        sign, result = "-", left - right
    question = rng.choice((f"What is {left} {sign} {right}? ", f"{left} {sign} {right} = "))
    return question + "".join(MARK + digit for digit in str(result)) + "."


def chat(rng: random.Random) -> str:
    """One short exchange between a user and an assistant."""
    name, city, job, thing = rng.choice(NAMES), rng.choice(CITIES), rng.choice(JOBS), rng.choice(objects())
    greeting = (
        f"User: hello, my name is {name}. Assistant: hello ^{name}, how can I help you? "
        f"User: what is my name? Assistant: your name is ^{name}."
    )
    journey = (
        f"User: I want to travel to {city}. Assistant: great, ^{city} is a nice city. "
        f"User: I need a {thing}. Assistant: you can take the ^{thing} to ^{city}."
    )
    trade = f"User: {name} is a {job}. Assistant: I see. User: who is the {job}? Assistant: the ^{job} is ^{name}."
    request = (
        f"User: please write about the {thing}. Assistant: the ^{thing} is {rng.choice(COLOURS)}. "
        "User: thank you. Assistant: you are welcome."
    )
    return rng.choice((greeting, journey, trade, request))


def story(rng: random.Random) -> str:
    """One to four sentences about animals and objects."""
    return " ".join(
        f"The {rng.choice(COLOURS)} {rng.choice(ANIMALS)} {rng.choice(VERBS)} the {rng.choice(objects())}."
        for _ in range(rng.randint(1, 4))
    )


# Encoding
# ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """Token ids of one text, BOS first, and which of them are answers."""

    ids: list[int]
    is_answer: list[bool]


def encode_marked(text: str) -> Example:
    """Token ids of a marked text; KeyError names a word that the vocabulary lacks."""
    vocab = vocabulary()
    ids, is_answer, marked = [vocab[BOS]], [False], False
    for word in split_words(text):
        if word == MARK:
            marked = True
            continue
        ids.append(vocab[word])
        is_answer.append(marked)
        marked = False
    return Example(ids, is_answer)


def plain(text: str) -> str:
    """The text without its answer marks."""
    return text.replace(MARK, "")
