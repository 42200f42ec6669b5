"""What lies in a model's, an adapter's or a tokenizer's local folder. Standard library only."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from entity_mech.errors import UserError, shown
from entity_mech.files import read_json

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
# Keys of tokenizer_config.json that change which ids a text gets; the others (chat template, padding side) do
# not.
_ENCODING_KEYS = ("add_bos_token", "add_eos_token", "add_prefix_space", "legacy", "bos_token", "eos_token")


def is_adapter(folder: Path) -> bool:
    """True for a PEFT adapter's folder: it has an adapter_config.json and no model's weights of its own."""
    return (folder / ADAPTER_CONFIG).is_file() and not any((folder / f).is_file() for f in (WEIGHTS, INDEX))


def weight_files(folder: Path) -> list[Path]:
    """Safetensors files of a model's or an adapter's folder, in the order in which they are read.

    Raises UserError when there are none (a pickled checkpoint alone is refused) or when a shard is missing.
    """
    if is_adapter(folder):
        single, index, pickle = ADAPTER_WEIGHTS, None, "adapter_model.bin"
    else:
        single, index, pickle = WEIGHTS, folder / INDEX, "pytorch_model.bin"
    if (folder / single).is_file():
        return [folder / single]
    if index is not None and index.is_file():
        shards = _shards(index)
        missing = [shard for shard in shards if not (folder / shard).is_file()]
        if missing or not shards:
            raise UserError(f"{folder} lacks weight files that {INDEX} lists: {', '.join(missing) or 'none listed'}")
        return [folder / shard for shard in shards]
    raise UserError(f"{folder} holds no {single}" + _pickle_advice(folder, pickle))


def _shards(index: Path) -> list[str]:
    """Names of the files that an index lists. Raises UserError for what is no file beside it."""
    listed = read_json(index).get("weight_map", {})
    names = list(listed.values()) if isinstance(listed, dict) else [listed]
    wrong = [name for name in names if not isinstance(name, str) or Path(name).name != name or len(name) > 200]
    if wrong:
        raise UserError(
            f"{index}: weight_map should give each weight the name of a file beside it, not {shown(wrong[0])}"
        )
    return sorted(set(names))


def _pickle_advice(folder: Path, pickle: str) -> str:
    found = sorted(p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth"))
    if not found and not (folder / f"{pickle}.index.json").is_file():
        return " (pickled checkpoints, *.bin or *.pt, are not read and not downloaded)"
    if pickle == "adapter_model.bin":
        how = (
            "import torch, safetensors.torch as s; "
            "s.save_file(torch.load('adapter_model.bin', weights_only=True), 'adapter_model.safetensors')"
        )
    else:
        how = (
            "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; "
            "[x.from_pretrained('OLD').save_pretrained('NEW') for x in (M, T)]"
        )
    return (
        f", only a pickled checkpoint ({', '.join(found) or pickle}), which is not read. "
        f'Convert it to safetensors: python -c "{how}"'
    )


def has_tokenizer(folder: Path) -> bool:
    """True when the folder holds a tokenizer of its own."""
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))


def tokenizer_digest(folder: Path) -> str:
    """Sha256 of what decides a tokenizer's ids: tokenizer.json (tokenizer.model where there is none) and the
    keys of tokenizer_config.json that matter for encoding. Padding and truncation left by a training script
    don't count. Raises UserError when the folder holds no tokenizer.
    """
    digest = hashlib.sha256()
    if (folder / "tokenizer.json").is_file():
        fast = read_json(folder / "tokenizer.json")
        kept = {key: value for key, value in fast.items() if key not in ("padding", "truncation")}
        digest.update(json.dumps(kept, sort_keys=True).encode())
    elif (folder / "tokenizer.model").is_file():
        digest.update((folder / "tokenizer.model").read_bytes())
    else:
        raise UserError(f"{folder} holds no tokenizer (tokenizer.json or tokenizer.model)")
    if (folder / "tokenizer_config.json").is_file():
        options = read_json(folder / "tokenizer_config.json")
        digest.update(json.dumps([_token_text(options.get(key)) for key in _ENCODING_KEYS]).encode())
    return digest.hexdigest()


def _token_text(value: Any) -> Any:
    """A special token is stored as a string or as an object with its content."""
    return value.get("content") if isinstance(value, dict) else value
