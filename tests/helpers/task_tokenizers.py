"""Tokenizers of several kinds, built in memory from the task's own prompts."""

import re
from functools import cache

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from entity_mech.task.prompts import render
from entity_mech.task.roles import ALIASES
from entity_mech.task.scenes import Scene
from entity_mech.task.task import Task
from entity_mech.task.words import LETTERS, builtin_objects

KINDS = ("words", "bytes", "bytes_trimmed", "metaspace", "unigram")
TASK = Task()
SPECIAL = ["<s>", "</s>", "<unk>"]


@cache
def corpus(task: Task) -> list[str]:
    """Prompts that hold every object and label often enough to be learnt as one token."""
    rng = np.random.default_rng(0)
    written = [text for text in vars(task.texts).values() if text is not None]
    texts = [variant for text in written for variant in (text, text.capitalize())]
    for _ in range(400):
        objects = rng.choice(builtin_objects(), 7, replace=False).tolist()
        labels = rng.choice(LETTERS, 7, replace=False).tolist()
        texts.append(f"{render(Scene(tuple(objects), tuple(labels)), 0, task).text} {objects[0]}")
    return texts


@cache
def build(kind: str, task: Task = TASK) -> PreTrainedTokenizerFast:
    """words: a word or mark a token, <s> in front. bytes: GPT-2 like, nothing in front, blanks in the tokens'
    characters; bytes_trimmed: the same with blanks left out of them. metaspace: Llama like, <s> in front.
    unigram: T5 like, </s> behind, and
    several tokens for Box and contains.
    """
    tokenizer = {"words": _words, "metaspace": _metaspace, "unigram": _unigram}.get(kind, _bytes)(corpus(task))
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


def _words(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), behavior="removed", invert=True)
    tokenizer.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False))
    return tokenizer


def _bytes(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _metaspace(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = _split_marks()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _unigram(texts: list[str]) -> Tokenizer:
    words = {word for text in texts for word in re.sub("[,.;]", "", text).split()}
    whole = sorted(f"▁{word}" for word in words - {"contains", "Box"})
    pieces = [*SPECIAL, "▁Bo", "▁cont", *whole, "▁", ",", ".", ";"]
    letters = sorted({letter for text in texts for letter in text} - {" ", ",", ".", ";"})
    scores = [(piece, -1.0) for piece in pieces] + [(letter, -9.0) for letter in letters]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=SPECIAL.index("<unk>")))
    tokenizer.pre_tokenizer = _split_marks()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _split_marks() -> pre_tokenizers.Sequence:
    """Words with their blank as "▁word", marks apart, as SentencePiece does."""
    marks = pre_tokenizers.Split(Regex("[,.;]"), behavior="isolated")
    return pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="first"), marks])


def text_up_to(tokenizer, ids):
    """What a reader sees of the first tokens of a prompt."""
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def squeezed(text):
    return text.replace(" ", "")


def check_roles(prompts, tokens, tokenizer, task):
    """Decoding a prompt up to a role's token gives the text up to the end of the role's word, and no more."""
    assert set(tokens.roles) == {*task.roles, *ALIASES}
    for row, prompt in enumerate(prompts):
        ids = tokens.ids[row, : tokens.length[row]]
        assert squeezed(text_up_to(tokenizer, ids)) == squeezed(prompt.text)
        spans = dict(prompt.query)
        if prompt.role_segment >= 0:
            own = {role: found[prompt.role_segment] for role, found in prompt.segments.items()}
            spans |= {role: span for role, span in own.items() if span is not None}
        for role in task.roles[1:]:
            at = tokens.roles[role][row]
            if role not in spans:
                assert at == -1
                continue
            start, end = spans[role]
            assert squeezed(text_up_to(tokenizer, ids[: at + 1])) == squeezed(prompt.text[:end])
            if role in ("object", "label"):
                assert squeezed(text_up_to(tokenizer, ids[:at])) == squeezed(prompt.text[:start])
        assert tokens.roles["last"][row] == tokens.length[row] - 1
        np.testing.assert_array_equal(tokens.roles["previous_label"], tokens.roles["label"])
        np.testing.assert_array_equal(tokens.roles["correct_object"], tokens.roles["object"])
