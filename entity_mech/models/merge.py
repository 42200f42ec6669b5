"""PEFT adapters: put over a model, merged into its weights, and what the merging changed.

peft is imported inside the functions: it costs seconds, and only models with adapters need it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from entity_mech.errors import UserError
from entity_mech.files import read_json
from entity_mech.models.families.family import Description
from entity_mech.models.folders import ADAPTER_CONFIG, weight_files
from entity_mech.models.loading import TensorFiles
from entity_mech.models.sources import ModelSource
from entity_mech.models.tensorfiles import read_headers


def attach(model: nn.Module, adapter: ModelSource) -> nn.Module:
    """Put an adapter over a transformers model, not merged yet: its forward pass is PEFT's own.

    Raises UserError when PEFT cannot, or when the adapter's file lacks weights that its config asks for.
    """
    from peft import PeftModel

    if tied(model) and _touches_embeddings(model, adapter.folder):
        untie(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            over = PeftModel.from_pretrained(
                model,
                str(adapter.folder),
                torch_device=str(next(model.parameters()).device),
            )
        except Exception as error:  # PEFT raises many kinds, some of them plain ones
            raise UserError(f"model {adapter.name}: PEFT cannot load {adapter.path}: {error}") from error
    lacking = [str(w.message) for w in caught if "missing adapter keys" in str(w.message)]
    if lacking:
        raise UserError(
            f"model {adapter.name}: {adapter.path} lacks weights that its config asks for: {lacking[0][:300]}"
        )
    attached: nn.Module = over.eval()
    return attached


def merge(over: Any, adapter: ModelSource) -> nn.Module:
    """Merge an attached adapter into the weights. Raises UserError for a type of adapter that cannot be
    merged."""
    kind = over.active_peft_config.peft_type
    try:
        merged: nn.Module = over.merge_and_unload(safe_merge=True)
    except (NotImplementedError, AttributeError, ValueError, TypeError) as error:
        raise UserError(
            f"model {adapter.name}: an adapter of type {kind} cannot be merged into the weights: {error}"
        ) from error
    return merged


def changed_tensors(model: nn.Module, described: Description, files: Sequence[Path]) -> dict[str, Tensor]:
    """Weights of a model (in float32) that differ from those stored in files, or that are not stored there.

    One stored tensor is in memory at a time; what is returned are the model's own tensors, not copies.
    """
    changed = {}
    with TensorFiles(files, described) as stored:
        for name, value in model.named_parameters():
            if name not in described.tensors():
                continue  # experts, which transformers keep together: adapters on them are refused
            if name not in stored or not torch.equal(stored.get(name).to(value.device, value.dtype), value):
                changed[name] = value.detach()
    return changed


def tied(model: Any) -> bool:
    """True when a model's unembedding is its embedding, the same tensor in memory."""
    same: bool = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    return same


def untie(model: Any) -> None:
    """Give a tied model an unembedding of its own.

    An adapter that changes one of the two leaves the other alone in PEFT's forward pass; merged into a shared
    tensor it would change both.
    """
    head: Any = model.get_output_embeddings()
    head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    model.config.tie_word_embeddings = False


def _touches_embeddings(model: Any, folder: Path) -> bool:
    if read_json(folder / ADAPTER_CONFIG).get("ensure_weight_tying"):
        return False
    both = (model.get_input_embeddings(), model.get_output_embeddings())
    parts = [name for name, module in model.named_modules() if module in both]
    names = read_headers(weight_files(folder))
    # PEFT itself keeps single trained tokens the same in both tied tensors.
    return any(f".{part}." in name for name in names for part in parts if "trainable_tokens" not in name)
