"""That models which are said to share a tokenizer do share it."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from entity_mech.errors import UserError
from entity_mech.models.folders import has_tokenizer, tokenizer_digest
from entity_mech.models.sources import ModelSource, tokenizer_source
from entity_mech.task.encoding import load_tokenizer

_LETTERS = ascii_uppercase
# Every label, with and without what stands around it in the task's prompts.
TEXTS = tuple(
    f"The apple is in Box {a}, the key is in Box {b}. Box {a} contains the"
    for a, b in zip(_LETTERS, _LETTERS[1:] + _LETTERS[0], strict=True)
)


def check_tokenizer(source: ModelSource, vocab: int, texts: Sequence[str] = ()) -> None:
    """Check the tokenizer that a model uses.

    Where its folder holds one of its own and it uses another model's, both must give every text the same ids:
    TEXTS and the given ones. Ids must lie in the model's vocabulary of `vocab` tokens. Raises UserError
    naming both models and the first text that differs.
    """
    owner = tokenizer_source(source)
    own = source.folder
    if owner == source or not has_tokenizer(own) or tokenizer_digest(own) == tokenizer_digest(owner.folder):
        return
    mine, theirs = (load_tokenizer(one.folder, trust_remote_code=one.trust_remote_code) for one in (source, owner))
    for text in (*TEXTS, *texts):
        a, b = mine(text)["input_ids"], theirs(text)["input_ids"]
        if a != b:
            raise UserError(
                f"models {source.name} and {owner.name} are said to share a tokenizer, but they give "
                f"{text!r} different token ids: {a[:12]} and {b[:12]}"
            )
        if max(b) >= vocab:
            raise UserError(f"model {source.name} has {vocab} tokens, and {owner.name}'s tokenizer gives id {max(b)}")
