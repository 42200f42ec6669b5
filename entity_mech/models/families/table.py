"""The families that are supported, chosen by the architecture that a config.json names. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entity_mech.errors import UserError
from entity_mech.models.families import (
    gemma2,
    gemma3,
    gpt2,
    gpt_neox,
    llama,
    mistral,
    mixtral,
    olmo2,
    phi3,
    qwen2,
    qwen3,
    qwen3_moe,
)
from entity_mech.models.families.family import KEYS, Block, Description, Family, Sizes

FAMILIES: tuple[Family, ...] = tuple(
    module.FAMILY
    for module in (llama, qwen2, qwen3, mistral, gpt_neox, gpt2, gemma2, gemma3, phi3, olmo2, mixtral, qwen3_moe)
)
_REQUIRED = ("d_model", "d_mlp", "n_heads", "n_layers", "vocab")


def family_of(config: Mapping[str, Any]) -> Family:
    """The family of a config.json. Raises UserError naming the architecture and those that are supported."""
    architectures = config.get("architectures") or []
    for family in FAMILIES:
        unnamed = not architectures and config.get("model_type") == family.model_type
        if architectures == [family.architecture] or unnamed:
            return family
    named = ", ".join(map(str, architectures)) or f"model_type {config.get('model_type')!r}"
    known = ", ".join(family.architecture for family in FAMILIES)
    raise UserError(f"its architecture is {named}; supported: {known} (how to add one: docs/architecture.md)")


def description_of(config: Mapping[str, Any]) -> Description:
    """A model's family, sizes and block from its config.json. Raises UserError as `family_of` does."""
    family = family_of(config)
    sizes = family.sizes(config)
    return Description(family, sizes, family.block({**family.defaults, **config}, sizes))


def prepared(info: Mapping[str, Any]) -> Description:
    """The description that a prepared model's model.json holds."""
    sizes = Sizes(**{key: info[key] for key in Sizes.__dataclass_fields__})
    return Description(family_of({"architectures": [info["architecture"]]}), sizes, Block.from_json(info["block"]))


def family_table() -> str:
    """The table of docs/architecture.md."""
    rows = ["| family | architecture | differs from Llama in |", "|---|---|---|"]
    rows += [f"| {family.name} | `{family.architecture}` | {family.differs} |" for family in FAMILIES]
    return "\n".join(rows)


def config_problems(config: Mapping[str, Any], *, trust_remote_code: bool = False) -> list[str]:
    """Everything in a config.json that the engine does not compute, each by its key's name; empty when it
    can."""
    try:
        family = family_of(config)
    except UserError as error:
        return [str(error)]
    keys = {size: family.key(size) for size in KEYS}
    given = {**family.defaults, **config}
    needed = [keys[size] for size in _REQUIRED if family.defaults.get(keys[size], 0) is not None]
    missing = [key for key in needed if not isinstance(given.get(key), int)]
    if missing:
        return [f"config.json: no whole number under {', '.join(missing)}"]
    problems = []
    allowed = {keys["activation"]: family.activations, **family.computed}
    for key, values in allowed.items():
        if config.get(key, values[0]) not in values:
            problems.append(f"{key} is {config[key]!r}; only {' or '.join(map(repr, values))} is supported")
    if config.get("quantization_config"):
        method = dict(config["quantization_config"]).get("quant_method", "unknown method")
        problems.append(f"quantization_config ({method}): quantized weights are not supported, use the full ones")
    if config.get("auto_map") and not trust_remote_code and not family.brings_code:
        problems.append("auto_map: the model brings its own code; set trust_remote_code: true for it to be run")
    sizes = family.sizes(config)
    if sizes.n_heads % sizes.n_kv_heads:
        problems.append(
            f"{keys['n_heads']} {sizes.n_heads} is no multiple of {keys['n_kv_heads']} {sizes.n_kv_heads}"
        )
    return problems + (_rotary_problems(config, family) if family.rotary_types else [])


def _rotary_problems(config: Mapping[str, Any], family: Family) -> list[str]:
    problems = []
    for key in ("rope_parameters", "rope_scaling"):
        given = config.get(key) or {}
        nested = [value for value in given.values() if isinstance(value, dict)]  # one for each kind of layer
        for rotary in nested or [given]:
            kind = rotary.get("rope_type", rotary.get("type", "default"))
            if kind not in family.rotary_types:
                supported = ", ".join(family.rotary_types)
                problems.append(f"{key}: type {kind!r} is not supported, only {supported} are")
            problems += _partial(rotary, f"{key}: partial_rotary_factor", family)
    return problems + _partial(config, "partial_rotary_factor", family)


def _partial(given: Mapping[str, Any], name: str, family: Family) -> list[str]:
    factor = given.get("partial_rotary_factor")
    if factor in (None, 1, 1.0) or family.partial_rotary:
        return []
    return [f"{name} is {factor}; only 1 is supported"]
