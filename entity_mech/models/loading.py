"""Load a prepared model's weights into a `Decoder`: model.json and safetensors only, no transformers.

Stages call `entity_mech.engine.load.load_checked`, which loads and then asks the engine for the stored probe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from entity_mech.errors import UserError
from entity_mech.files import read_checked_json
from entity_mech.models.decoder import Checkpoint, Decoder, DecoderShape, Rotary
from entity_mech.models.gpu_lock import claim
from entity_mech.models.llama import DTYPES, LlamaSizes, size_differences
from entity_mech.models.tensorfiles import StoredTensor, fingerprint, read_headers

FORMAT = 1


class TensorFiles:
    """Tensors of several safetensors files by name, read when asked for; later files override earlier ones.

    Use it in a `with` statement. A tied model's embedding may be stored under the unembedding's name.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._stack = ExitStack()
        self._where: dict[str, Any] = {}
        for path in paths:
            try:
                opened = self._stack.enter_context(safe_open(path, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path} cannot be read: {error}") from None
            self._where.update(dict.fromkeys(opened.keys(), opened))

    def __enter__(self) -> TensorFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def get(self, name: str) -> Tensor:
        """The tensor as it is stored, on the CPU. Raises UserError when no file has it."""
        if name not in self._where and name == "model.embed_tokens.weight":
            name = "lm_head.weight"
        if name not in self._where:
            raise UserError(f"no file of the model holds {name}")
        tensor: Tensor = self._where[name].get_tensor(name)
        return tensor


def resolve_device(device: str | torch.device) -> torch.device:
    """`auto` is the graphics card with most free memory that no other job has, or the CPU where there is none.

    Raises UserError when a card is asked for that is not there.
    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if str(device) == "auto":
        if not cards:
            return torch.device("cpu")
        freest = sorted(range(cards), key=lambda card: -torch.cuda.mem_get_info(card)[0])
        names = [str(torch.cuda.get_device_properties(card).uuid) for card in freest]
        return torch.device("cuda", freest[names.index(claim(names))])
    wanted = torch.device(device)
    if wanted.type == "cuda" and (wanted.index or 0) >= cards:
        raise UserError(f"device {device} was asked for; this machine has {cards} CUDA devices that torch can use")
    return wanted


def resolve_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """torch's dtype of a name in the config. Raises UserError for another name."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    found: torch.dtype = getattr(torch, dtype)
    return found


def read_model(model_json: Path) -> dict[str, Any]:
    """Contents of a model.json. Raises UserError when it is missing or of another version's format."""
    info = read_checked_json(model_json)
    if info.get("format") != FORMAT:
        raise UserError(
            f"{model_json} has format {info.get('format')!r}, this version reads {FORMAT}: prepare the model again"
        )
    return info


def check_exchangeable(info: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Raise UserError, naming both, when activations of two prepared models cannot be put in each other's place:
    when their sizes or their tokenizers differ. info, other: the contents of two model.json."""
    mine, theirs = (LlamaSizes(**{key: i[key] for key in LlamaSizes.__dataclass_fields__}) for i in (info, other))
    found = size_differences(mine, theirs)
    if info["tokenizer_digest"] != other["tokenizer_digest"]:
        found.append(f"their tokenizers ({info['tokenizer']} and {other['tokenizer']})")
    if found:
        raise UserError(
            f"models {info['name']} and {other['name']} differ in {', '.join(found)}: "
            "activations of one cannot be put into the other"
        )


def model_files(info: Mapping[str, Any], folder: Path) -> list[Path]:
    """Paths of the weights, in order. A bare name lies beside model.json (its folder), another path is as it
    stands: absolute, or relative to the folder in which the run was started. Raises UserError for a missing
    file.
    """
    paths = [folder / name if Path(name).name == name else Path(name) for name in info["files"]]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise UserError(f"model {info['name']}: weights are missing: {', '.join(missing)} (from {Path.cwd()})")
    return paths


def used_tensors(files: Sequence[Path], sizes: LlamaSizes) -> dict[str, StoredTensor]:
    """The stored tensors that the engine reads, by name."""
    stored = read_headers(files)
    used = {name: stored[name] for name in sizes.tensors() if name in stored}
    if "model.embed_tokens.weight" not in used and "lm_head.weight" in stored:
        used["lm_head.weight"] = stored["lm_head.weight"]
    return used


def check_fingerprint(info: Mapping[str, Any], folder: Path) -> None:
    """Raise UserError when the weights are no longer those that were prepared: changed, damaged, cut short.

    Reads all of them once: about a second for 2 GB, of which loading then finds most in memory.
    """
    files = model_files(info, folder)
    sizes = LlamaSizes(**{key: info[key] for key in LlamaSizes.__dataclass_fields__})
    if fingerprint(used_tensors(files, sizes)) != info["fingerprint"]:
        names = ", ".join(map(str, files))
        raise UserError(
            f"model {info['name']}: its weights ({names}) have changed since it was prepared. Put the right files "
            f"there, or delete {folder / 'model.json'} to study the new ones, and run again"
        )


def build_decoder(
    info: Mapping[str, Any],
    folder: Path,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = torch.float32,
) -> Decoder:
    """A decoder from the contents of a model.json that lies in `folder`."""
    shape = DecoderShape(
        n_layers=info["n_layers"],
        n_heads=info["n_heads"],
        n_kv_heads=info["n_kv_heads"],
        d_head=info["d_head"],
        d_model=info["d_model"],
        d_mlp=info["d_mlp"],
        vocab=info["vocab"],
        norm_eps=info["norm_eps"],
        max_position=info["max_position"],
    )
    with TensorFiles(model_files(info, folder)) as files:
        return Decoder.from_tensors(
            shape,
            Checkpoint(files.get, info["tied"], info["attention_bias"], info["mlp_bias"]),
            Rotary(info["rotary"]["inv_freq"], info["rotary"]["attention_scaling"]),
            device=resolve_device(device),
            dtype=resolve_dtype(dtype),
            name=info["name"],
        )


def load_decoder(
    model_json: Path, device: str | torch.device = "cpu", dtype: str | torch.dtype = torch.float32
) -> Decoder:
    """The weights of a prepared model on a device, in a dtype. They are not proven: `load_checked` does that.

    device: `auto`, `cpu`, `cuda`, `cuda:1`; dtype: `float32`, `float64`, `bfloat16`, `float16`. Raises
    UserError when model.json, a file or a tensor is missing.
    """
    model_json = Path(model_json)
    return build_decoder(read_model(model_json), model_json.parent, device, dtype)
