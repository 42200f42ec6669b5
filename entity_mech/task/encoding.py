"""Texts as a transformers tokenizer reads them, with the characters that each token covers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from entity_mech.errors import UserError

_FAR = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Encoded:
    """Token ids and character offsets of texts, int64 [text, pos], padded on the right.

    ids: padded with 0. start, end: characters covered (a leading blank may be among them); beyond every text
    where padded. Special tokens behind the text are dropped, those in front are kept and cover nothing.
    length: tokens per text. leading: special tokens in front of the text.
    """

    ids: np.ndarray
    start: np.ndarray
    end: np.ndarray
    length: np.ndarray
    leading: np.ndarray

    def first_token(self, char: np.ndarray) -> np.ndarray:
        """Position of the first token that reaches beyond a character: char [text, k] -> [text, k]."""
        count: np.ndarray = (self.end[:, None, :] <= char[:, :, None]).sum(-1)
        return count

    def last_token(self, char: np.ndarray) -> np.ndarray:
        """Position of the last token that starts at or before a character: char [text, k] -> [text, k]."""
        count: np.ndarray = (self.start[:, None, :] <= char[:, :, None]).sum(-1)
        return count - 1


def load_tokenizer(path_or_id: str | Path, revision: str | None = None, *, trust_remote_code: bool = False) -> Any:
    """A transformers tokenizer from a local folder or a hub id; only a "fast" one tells characters.

    Raises UserError when it cannot be loaded or is not a fast one.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(path_or_id),
            revision=revision or "main",
            local_files_only=Path(path_or_id).is_dir(),
            trust_remote_code=trust_remote_code,
        )
    except Exception as error:  # the tokenizers library raises plain Exceptions for a file that is none of its own
        raise UserError(f"the tokenizer of {path_or_id} cannot be loaded: {error}") from error
    check_fast(tokenizer, str(path_or_id))
    return tokenizer


def check_fast(tokenizer: Any, name: str) -> None:
    """Raise UserError unless the tokenizer can tell which characters a token covers."""
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"tokenizer {name} has no fast version (tokenizer.json), and roles need one")


def encode(tokenizer: Any, texts: list[str]) -> Encoded:
    """Tokenize texts as the model would see them, special tokens included."""
    found = tokenizer(
        texts,
        padding=False,
        truncation=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        verbose=False,
    )
    masks = found["special_tokens_mask"]
    length = np.array([len(mask) - _run_of_ones(mask[::-1]) for mask in masks], np.int64)
    leading = np.array([_run_of_ones(mask) for mask in masks], np.int64)
    shape = (len(texts), int(length.max(initial=0)))
    ids = np.zeros(shape, np.int64)
    start, end = np.full(shape, _FAR), np.full(shape, _FAR)
    for row, n in enumerate(length):
        ids[row, :n] = found["input_ids"][row][:n]
        spans = np.array(found["offset_mapping"][row][:n], np.int64).reshape(-1, 2)
        # A token without characters of its own stands where the one before it ends.
        spans = np.maximum.accumulate(spans, axis=0)
        start[row, :n], end[row, :n] = spans[:, 0], spans[:, 1]
    return Encoded(ids, start, end, length, leading)


def _run_of_ones(mask: list[int]) -> int:
    return next((i for i, one in enumerate(mask) if not one), len(mask))
