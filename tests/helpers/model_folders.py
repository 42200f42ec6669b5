"""Small models, adapters and tokenizers saved to local folders, for the tests of model loading."""

from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from entity_mech.models.sources import ModelSource
from tests.helpers.random_models import random_llama

IDS = torch.tensor([[3, 40, 7, 7, 58, 21, 0, 60, 13]])


def save_tokenizer(folder: Path, words: str = "The apple is in Box , . contains the key", extra: str = "") -> None:
    """A word-level tokenizer; the order of the words decides the ids."""
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(["<unk>", *words.split(), *extra.split()]))}
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        vocabulary.setdefault(letter, len(vocabulary))
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)


def save_model(folder: Path, *, dtype: torch.dtype = torch.float32, shard: str | None = None, **config) -> Path:
    """A random Llama with a tokenizer in a folder, sharded at `shard` ("20KB") if given."""
    model = random_llama(**config).to(dtype)
    model.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    save_tokenizer(folder)
    return folder


def randomize(model: PeftModel, seed: int) -> PeftModel:
    """Give a fresh adapter weights that do something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def save_adapter(folder: Path, base: torch.nn.Module, config=None, seed: int = 1, **lora) -> PeftModel:
    """Put a random adapter over a model, save it, and return PEFT's model with it, not merged."""
    if config is None:
        config = LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **lora)
    model = randomize(get_peft_model(base, config), seed)
    model.save_pretrained(folder)
    return model


def source(name: str, folder: Path | str, **more) -> ModelSource:
    return ModelSource(name=name, path=str(folder), **more)
