"""Prepare a model once: check it, merge its adapters, let it answer a probe, and write model.json.

This is the only file that loads a model with transformers. Everything else reads model.json and safetensors.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from entity_mech.errors import UserError
from entity_mech.files import atomic_path, write_checked_json
from entity_mech.models.checks import check
from entity_mech.models.decoder import Decoder
from entity_mech.models.families.family import Description
from entity_mech.models.families.table import description_of, prepared
from entity_mech.models.folders import tokenizer_digest, weight_files
from entity_mech.models.loading import FORMAT, build_decoder, model_files, resolve_device, used_tensors
from entity_mech.models.logit_check import TOLERANCE, check_logits, record_logits
from entity_mech.models.merge import attach, changed_tensors, merge, tied
from entity_mech.models.sources import ModelSource, chain, tokenizer_source
from entity_mech.models.tensorfiles import fingerprint, read_headers, stored_dtype
from entity_mech.models.tokenizer import check_tokenizer
from entity_mech.models.wiring import record_wiring
from entity_mech.progress import log

OVERLAY = "merged.safetensors"


def prepare_model(
    source: ModelSource,
    out_dir: Path,
    run_logits: Callable[[Decoder, Tensor], Tensor],
    *,
    texts: Sequence[str] = (),
    prove: Callable[[Decoder, dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Write out_dir/model.json (and merged.safetensors for an adapter) and return what model.json holds.

    source: local folders only (`sources.located` puts downloads in place of hub ids). run_logits: the
    engine's (decoder, ids [prompt, pos]) -> logits [prompt, pos, vocab]. texts: prompts on which a shared
    tokenizer is compared. prove: the engine's guards, given the decoder and what model.json holds.

    The model is loaded in float32, on the CPU unless its device is a card by name (`auto` is the CPU here, so
    that a run's files don't depend on the machine); one float32 copy is in memory at a time. Raises UserError
    when the source has a problem, when transformers or PEFT cannot load it, when an adapter changes nothing,
    when tokenizers that should agree don't, or when the engine's logits are not the model's own.
    """
    check(source)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    device = resolve_device("cpu" if source.device == "auto" else source.device)
    root, *adapters = chain(source)
    base_files = weight_files(root.folder)
    log(f"{source.name}: loading {root.path} in float32 on {device}")
    model = load_own(root, device)
    info = {"format": FORMAT, "name": source.name, **describe_loaded(model)}
    model, info["probe"] = _merge_and_probe(model, adapters, info)
    info["tied"] = tied(model)
    info["wiring"] = record_wiring(model, info)
    files = [str(path) if path.parent != Path() else f"./{path}" for path in base_files]
    if adapters:
        info["overlay"] = _write_overlay(model, prepared(info), out_dir, source)
        files.append(OVERLAY)
    else:
        (out_dir / OVERLAY).unlink(missing_ok=True)
    del model
    gc.collect()

    info["files"] = files
    info |= _weights(info, model_files(info, out_dir), base_files)
    owner = tokenizer_source(source)
    info |= {"dtype": source.dtype, "adapters": [adapter.name for adapter in adapters]}
    info |= {"tokenizer": owner.name, "tokenizer_digest": tokenizer_digest(owner.folder)}
    check_tokenizer(source, info["vocab"], texts)
    decoder = build_decoder(info, out_dir, device)
    difference = check_logits(decoder, info, run_logits)
    if prove is not None:
        prove(decoder, info)
    log(f"{source.name}: the engine's logits equal the model's own within {difference:.1g} of their spread")
    info["parity"] = {"difference": float(f"{difference:.2g}"), "allowed": TOLERANCE[torch.float32]}
    write_checked_json(out_dir / "model.json", info)
    return info


def load_own(source: ModelSource, device: torch.device) -> nn.Module:
    """A local model as transformers runs it, in float32. Raises UserError when it cannot be loaded."""
    import transformers

    hush: Any = transformers.logging
    hush.set_verbosity_error()
    hush.disable_progress_bar()
    try:
        model: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(
            source.folder,
            dtype=torch.float32,
            attn_implementation="eager",
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=source.trust_remote_code,
        )
    except Exception as error:  # transformers raises many kinds, its config's validation some of its own
        raise UserError(f"model {source.name}: transformers cannot load {source.path}: {error}") from error
    return model.to(device).eval().requires_grad_(False)


def describe_loaded(model: Any) -> dict[str, Any]:
    """Sizes and block from the loaded model's config, and its rotary frequencies as it made them."""
    described = description_of({**model.config.to_dict(), "architectures": [type(model).__name__]})
    kinds = sorted({kind for kind in described.block.rotary if kind})
    return {
        "architecture": described.family.architecture,
        **asdict(described.sizes),
        "block": {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(described.block).items()},
        "rotary": {kind: _rotary(model.get_submodule(described.family.rotary_buffer), kind) for kind in kinds},
    }


def _rotary(module: Any, kind: str) -> dict[str, Any]:
    """Frequencies of one kind of layer; most models have one table for all."""
    own = f"{kind}_" if hasattr(module, f"{kind}_inv_freq") else ""
    frequencies, scaling = getattr(module, f"{own}inv_freq"), getattr(module, f"{own}attention_scaling")
    return {"inv_freq": frequencies.float().tolist(), "attention_scaling": float(scaling)}


def _merge_and_probe(
    model: nn.Module, adapters: Sequence[ModelSource], info: dict[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """Merge adapters in order. The probe is answered by the last one unmerged: by PEFT's own forward pass."""
    for adapter in adapters[:-1]:
        model = merge(attach(model, adapter), adapter)
    own: Any = attach(model, adapters[-1]) if adapters else model

    def own_logits(ids: Tensor) -> Tensor:
        try:
            with torch.no_grad():
                logits: Tensor = own(ids.to(own.device)).logits
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise UserError(f"its own code cannot run it as its config.json has it: {error}") from error
        return logits

    try:
        probe = record_logits(info["vocab"], info["max_position"], own_logits)
    except UserError as error:
        raise UserError(f"model {info['name']}: {error}") from None
    return (merge(own, adapters[-1]) if adapters else model), probe


def _write_overlay(model: nn.Module, described: Description, out_dir: Path, source: ModelSource) -> dict[str, Any]:
    """Save the tensors that merging changed, in float32: rounding them to 16 bits would round the adapter
    away."""
    from safetensors.torch import save_file

    changed = changed_tensors(model, described, weight_files(chain(source)[0].folder))
    if not changed:
        raise UserError(f"model {source.name}: merging {source.path} changed no weight of {chain(source)[0].name}")
    with atomic_path(out_dir / OVERLAY) as temporary:
        save_file({name: value.cpu().contiguous() for name, value in changed.items()}, temporary)
        temporary.chmod(0o644)  # safetensors makes files that only their owner can read
    log(f"{source.name}: merging changed {len(changed)} tensors")
    return {
        "file": OVERLAY,
        "dtype": "float32",
        "why": "merged weights are kept in float32: the base's 16 bits would round the adapter's change",
        "tensors": sorted(changed),
    }


def _weights(info: dict[str, Any], files: list[Path], base_files: list[Path]) -> dict[str, Any]:
    """Fingerprint, number of parameters, memory and stored dtype of the tensors that the engine reads."""
    described = prepared(info)
    used = used_tensors(files, described)
    if sum(math.prod(tensor.shape) for tensor in used.values()) != described.parameters():
        raise UserError(f"model {info['name']}: its files do not hold the weights that its config.json describes")
    return {
        "fingerprint": fingerprint(used),
        "parameters": described.parameters(),
        "memory_bytes": described.memory(),
        "stored_dtype": stored_dtype(read_headers(base_files)),
    }
