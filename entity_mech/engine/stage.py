"""What a stage reads before it works: a model, what its activation files must be stamped with, mean outputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entity_mech.engine.load import load_checked
from entity_mech.engine.role_means import AblationPrompts, read_ablation
from entity_mech.engine.store import open_store
from entity_mech.models.decoder import Decoder
from entity_mech.models.loading import read_model
from entity_mech.task.layouts import FOLDER
from entity_mech.task.tokens import TokenizedPrompts, check_same_layout, groups_of, read_attributes, read_prompts


def open_model(model: str | Path, device: str) -> tuple[Decoder, dict[str, Any]]:
    """A prepared model in its configured dtype, and its model.json."""
    info = read_model(Path(model))
    return load_checked(Path(model), device, info["dtype"]), info


def stamp_of(info: dict[str, Any], tokens: str | Path) -> dict[str, str]:
    """Attributes that an activation file of this model on these token files must have."""
    known = {name: str(info[name]) for name in ("fingerprint", "dtype")}
    return {"model": str(info["name"]), **known, "dataset": str(read_attributes(tokens)["dataset"])}


def load_means(
    decoder: Decoder, info: dict[str, Any], means: str | Path, ablation: str | Path, by_role: Sequence[str] = ()
) -> Tensor:
    """Mean head outputs [pos, layer, head, d_head] on the model's device and in its dtype.

    by_role: roles whose tokens' means are by role; others are by position.
    """
    with open_store(means, stamp_of(info, ablation)) as file:
        found = read_ablation(file["prompts"], read_prompts(ablation, "prompts"), by_role)
        return torch.as_tensor(found, device=decoder.device, dtype=decoder.dtype)


def read_ablation_prompts(ablation: str | Path) -> AblationPrompts:
    """The ablation split: prompts laid out alike, and those of varying layout."""
    varied = [read_prompts(ablation, name) for name in groups_of(ablation) if name.startswith(f"{FOLDER}/")]
    return AblationPrompts(read_prompts(ablation, "prompts"), varied)


def read_prompts_like(tokens: str | Path, ablation: str | Path) -> TokenizedPrompts:
    """Prompts of a split, checked to be laid out as the ablation prompts are."""
    prompts = read_prompts(tokens, "prompts")
    check_same_layout(prompts, read_prompts(ablation, "prompts"), f"{Path(tokens).stem} and ablation prompts")
    return prompts
