"""What is wrong with a model's source, said before any job runs. Standard library only."""

from __future__ import annotations

import re
from pathlib import Path

from entity_mech.errors import UserError
from entity_mech.files import read_json
from entity_mech.models.config_values import ADAPTER_KEYS, MODEL_KEYS, value_problems
from entity_mech.models.families.family import Description, size_differences
from entity_mech.models.families.table import config_problems, description_of
from entity_mech.models.folders import ADAPTER_CONFIG, is_adapter, tokenizer_digest, weight_files
from entity_mech.models.sources import DTYPES, ModelSource, chain, tokenizer_source
from entity_mech.models.tensorfiles import read_headers

# Adapters that steer the model by added tokens, or depend on the input: there are no weights to merge them
# into.
NOT_MERGEABLE = (
    "PROMPT_TUNING",
    "MULTITASK_PROMPT_TUNING",
    "P_TUNING",
    "PREFIX_TUNING",
    "ADAPTION_PROMPT",
    "CPT",
    "CARTRIDGE",
    "POLY",
    "SHADOW",
    "XLORA",
)
_LORA = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.(?P<side>lora_[AB])\.weight")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def described(source: ModelSource) -> Description:
    """Family, sizes and block of a local model; an adapter's are those of the model it sits on. Raises UserError
    as `chain` does."""
    return description_of(read_json(chain(source)[0].folder / "config.json"))


def problems(source: ModelSource) -> list[str]:
    """Everything wrong with a source that can be known without loading it, one sentence each; empty when
    fine.

    Of a hub id that is not downloaded yet only the config's own keys can be checked.
    """
    found = []
    if source.dtype not in DTYPES:
        found.append(f"dtype {source.dtype!r} is not one of {', '.join(DTYPES)}")
    if not _DEVICE.fullmatch(source.device):
        found.append(f"device {source.device!r} is not auto, cpu, cuda or cuda:N")
    if not source.on_hub:
        try:
            found += _folder_problems(source)
        except UserError as error:
            found.append(str(error))
    return [f"model {source.name}: {problem.removeprefix(f'model {source.name}: ')}" for problem in found]


def check(source: ModelSource) -> None:
    """Raise UserError with every problem of a source and of the models that it is merged over."""
    found = [problem for one in chain(source) for problem in problems(one)]
    if found:
        raise UserError("\n".join(found))


def _folder_problems(source: ModelSource) -> list[str]:
    folder = source.folder
    if not folder.is_dir():
        return [f"there is no folder {folder} (relative to {Path.cwd()})"]
    found = []
    if source.revision is not None:
        found.append(f"revision {source.revision!r} is for hub ids, and {folder} is a local folder")
    if is_adapter(folder):
        found += _adapter_problems(source)
    else:
        found += _model_problems(source)
    owner = tokenizer_source(source)
    if not owner.on_hub and owner.folder.is_dir():
        found += _tokenizer_problems(owner.folder)
    return found


def _tokenizer_problems(folder: Path) -> list[str]:
    try:
        tokenizer_digest(folder)
    except UserError as error:
        return [str(error)]
    return []


def _model_problems(source: ModelSource) -> list[str]:
    folder = source.folder
    if not (folder / "config.json").is_file():
        return [f"{folder} holds neither config.json (a model) nor {ADAPTER_CONFIG} (a PEFT adapter)"]
    config = read_json(folder / "config.json")
    found = value_problems(config, MODEL_KEYS, "config.json")
    found = found or config_problems(config, trust_remote_code=source.trust_remote_code)
    if found:
        return found
    model = description_of(config)
    found = tensor_problems(model, weight_files(folder))
    base = None if source.base is None else _sound(source.base)
    if source.base is not None and base is not None:
        found += [
            f"differs from its base {source.base.name} in {difference}: their heads cannot be compared"
            for difference in size_differences(model, base)
        ]
    return found


def _sound(source: ModelSource) -> Description | None:
    """A model that is here and has no problem of its own, which its own entry would tell."""
    root = chain(source)[0]
    return None if root.on_hub or problems(root) else described(root)


def tensor_problems(model: Description, files: list[Path]) -> list[str]:
    """Weights that are missing, have another shape than config.json says, or that the engine would ignore."""
    stored, wanted = read_headers(files), model.tensors()
    names = {name: model.stored_name(name, stored) for name in wanted}
    missing = [name for name, found in names.items() if found is None]
    passed_over = set(names.values()) | model.unread(stored)
    unknown = [name for name in stored if name not in passed_over]
    wrong = []
    if missing:
        wrong.append(f"weights are missing: {_some(missing)}")
    if unknown:
        wrong.append(
            f"holds weights that a {model.family.name} model with this config.json does not have: {_some(unknown)}"
        )
    wrong += [
        f"{name} has shape {list(stored[found].shape)}, config.json says {list(wanted[name])}"
        for name, found in names.items()
        if found is not None and stored[found].shape != wanted[name]
    ][:5]
    return wrong


def _adapter_problems(source: ModelSource) -> list[str]:
    folder = source.folder
    config = read_json(folder / ADAPTER_CONFIG)
    if found := value_problems(config, ADAPTER_KEYS, ADAPTER_CONFIG):
        return found
    kind = str(config.get("peft_type") or "of no peft_type")
    files = weight_files(folder)
    root = chain(source)[0]
    if kind in NOT_MERGEABLE:
        return [f"its adapter is {kind}, which cannot be merged into the weights"]
    model = _sound(root)
    if model is None:
        return []
    shapes, layout = model.tensors(), model.family.layout
    found = []
    for name, tensor in read_headers(files).items():
        match = _LORA.fullmatch(name)
        if match is None:
            continue
        module = layout.embedding if match["module"] == layout.unembedding else match["module"]
        weight = shapes.get(f"{module}.weight")
        if weight is not None and layout.transposed and module.startswith(layout.layer.partition("{")[0]):
            weight = weight[::-1]
        axis = 1 if match["side"] == "lora_A" else 0
        if weight is None:
            found.append(f"its adapter sits on {match['module']}, which {root.name} does not have")
        elif tensor.shape[axis] != weight[axis]:
            found.append(
                f"its adapter's {name} has shape {list(tensor.shape)}, "
                f"but the weight it sits on in {root.name} has {list(weight)}"
            )
    return found[:5]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
