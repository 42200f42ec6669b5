"""Tokenizers of several kinds, built in memory from the task's own prompts."""

from functools import cache

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from entity_mech.task.pair_kinds import ProbeTexts
from entity_mech.task.words import LETTERS, builtin_objects

KINDS = ("words", "bytes", "bytes_trimmed", "metaspace", "unigram")
SPECIAL = ["<s>", "</s>", "<unk>"]


@cache
def corpus() -> list[str]:
    """Prompts that hold every object and label often enough to be learnt as one token."""
    rng = np.random.default_rng(0)
    texts = [variant for text in vars(ProbeTexts()).values() for variant in (text, text.capitalize())]
    for _ in range(400):
        objects = rng.choice(builtin_objects(), 7, replace=False)
        labels = rng.choice(LETTERS, 7, replace=False)
        context = ", ".join(f"the {o} is in Box {a}" for o, a in zip(objects, labels, strict=True))
        texts.append(f"T{context[1:]}. Box {labels[0]} contains the {objects[0]}")
    return texts


@cache
def build(kind: str) -> PreTrainedTokenizerFast:
    """words: a word or mark a token, <s> in front. bytes: GPT-2 like, nothing in front, blanks in the tokens'
    characters; bytes_trimmed: the same with blanks left out of them. metaspace: Llama like, <s> in front.
    unigram: T5 like, </s> behind, and
    several tokens for Box and contains.
    """
    tokenizer = {"words": _words, "metaspace": _metaspace, "unigram": _unigram}.get(kind, _bytes)()
    if kind == "bytes":
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if kind == "bytes_trimmed":
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    if kind in ("words", "metaspace"):
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    if kind == "unigram":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
        )
    unknown = None if kind.startswith("bytes") else "<unk>"
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token=unknown)


def word_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    """A word or mark a token, <s> in front, knowing the given words only."""
    vocab = {word: i for i, word in enumerate([*SPECIAL, *dict.fromkeys(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), behavior="removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>")


def _words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), behavior="removed", invert=True)
    tokenizer.train_from_iterator(corpus(), trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False))
    return tokenizer


def _bytes() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def _metaspace() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = _split_marks()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def _unigram() -> Tokenizer:
    words = {word for text in corpus() for word in text.replace(",", "").replace(".", "").split()}
    whole = sorted(f"▁{word}" for word in words - {"contains", "Box"})
    pieces = [*SPECIAL, "▁Bo", "▁cont", *whole, "▁", ",", "."]
    letters = sorted({letter for text in corpus() for letter in text} - {" ", ",", "."})
    scores = [(piece, -1.0) for piece in pieces] + [(letter, -9.0) for letter in letters]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=SPECIAL.index("<unk>")))
    tokenizer.pre_tokenizer = _split_marks()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _split_marks() -> pre_tokenizers.Sequence:
    """Words with their blank as "▁word", marks apart, as SentencePiece does."""
    marks = pre_tokenizers.Split(Regex("[,.]"), behavior="isolated")
    return pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="first"), marks])
