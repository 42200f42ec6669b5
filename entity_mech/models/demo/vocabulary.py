"""The words that the demo models know, and their word-level tokenizer.

A token is a word, a digit or a punctuation mark; blanks carry nothing, so " book" and "book" are the same
token. Every object, every box label (one letter) and every word that the study's prompts use is one token.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
SPECIAL = (PAD, BOS, EOS, UNKNOWN)
TOKEN_PATTERN = r"[A-Za-z]+|[0-9]|[^\sA-Za-z0-9]"

OBJECTS_CSV = Path(__file__).parents[2] / "task" / "data" / "objects.csv"


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


LABELS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
DIGITS = tuple("0123456789")
PUNCTUATION = _words(". , ; : ? ! = + - { } ( ) ' \"")
NAMES = _words(
    "Alice Bob Carol David Emma Frank Grace Henry Irene Jack Karen Leo Mary Nick Olga Paul Quinn Rosa Sam "
    "Tina Uma Victor Wendy Xavier Yara Zoe"
)
CITIES = _words(
    "Paris Rome London Berlin Madrid Tokyo Oslo Cairo Delhi Lima Dublin Vienna Prague Athens Boston Denver "
    "Seoul Kyoto Milan Lisbon"
)
COLOURS = _words("red blue green black white yellow pink brown gray purple orange gold")
JOBS = _words("doctor teacher baker pilot nurse farmer lawyer singer cook writer")
ANIMALS = _words("cat dog bird horse cow sheep rabbit mouse lion tiger")
VERBS = _words("sees likes takes moves finds wants has holds")

# Words of the box task and of its variants; each also stands in the vocabulary with a capital letter.
BOX_WORDS = _words(
    "the a is are in not on of and box boxes contains contain contained containing there these bunch three "
    "additional objects object nothing other here this that it we no now also some all one two four with"
)
# Words of the other training texts.
TEXT_WORDS = _words(
    "mov print let store load lives home to belongs an What User Assistant hello my name your how can I help "
    "you what want travel great nice city need take see who please write about thank welcome"
)


@cache
def objects() -> tuple[str, ...]:
    """The object words of the task, in the order of the task's own list."""
    with OBJECTS_CSV.open(newline="", encoding="utf-8") as file:
        return tuple(row["object_name"] for row in csv.DictReader(file))


@cache
def vocabulary() -> dict[str, int]:
    """Token -> id: the special tokens first, then every word in sorted order."""
    words: set[str] = set(objects()) | {word.capitalize() for word in BOX_WORDS}
    for group in (
        LABELS,
        NAMES,
        CITIES,
        COLOURS,
        JOBS,
        ANIMALS,
        VERBS,
        BOX_WORDS,
        TEXT_WORDS,
        PUNCTUATION,
        DIGITS,
    ):
        words |= set(group)
    return {word: index for index, word in enumerate((*SPECIAL, *sorted(words)))}


def split_words(text: str) -> list[str]:
    """The tokens of a text, as the tokenizer splits it."""
    return re.findall(TOKEN_PATTERN, text)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A fast tokenizer over `vocabulary()` that puts BOS in front and reports character offsets."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = vocabulary()
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(TOKEN_PATTERN), behavior="removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, vocab[BOS])]
    )
    make: Callable[..., PreTrainedTokenizerFast] = PreTrainedTokenizerFast
    return make(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        pad_token=PAD,
        padding_side="right",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )
