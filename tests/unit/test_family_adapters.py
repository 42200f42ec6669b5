"""LoRA adapters over every family: merged into its weights as PEFT itself runs them, Conv1D's transposed ones too."""

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from entity_mech.engine.clean import run_logits
from entity_mech.engine.guards import check_guards
from entity_mech.engine.load import load_checked
from entity_mech.models.checks import problems
from entity_mech.models.prepare import prepare_model
from tests.helpers.family_models import family_model
from tests.helpers.model_folders import IDS, save_adapter, save_tokenizer, source

LLAMA_LIKE = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TARGETS = {
    "qwen2": LLAMA_LIKE,
    "qwen3": LLAMA_LIKE,
    "mistral": LLAMA_LIKE,
    "gpt_neox": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "gemma2": LLAMA_LIKE,
    "gemma3": LLAMA_LIKE,
    "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    "olmo2": LLAMA_LIKE,
    "mixtral": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "qwen3_moe": ["q_proj", "k_proj", "v_proj", "o_proj"],
}
KINDS = {"rslora": {"use_rslora": True}, "dora": {"use_dora": True}}


def load(folder) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def saved(folder, variant: str):
    family_model(variant).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.mark.parametrize("variant", TARGETS)
def test_merged_equals_peft(tmp_path, variant):
    base = saved(tmp_path / "base", variant)
    options = {"fan_in_fan_out": True} if variant == "gpt2" else {}
    save_adapter(tmp_path / "adapter", load(base), target_modules=TARGETS[variant], **options)
    tuned = source("tuned", tmp_path / "adapter", base=source("base", base))
    assert problems(tuned) == []
    info = prepare_model(tuned, tmp_path / "out", run_logits, prove=check_guards)
    with torch.no_grad():
        own = PeftModel.from_pretrained(load(base), tmp_path / "adapter").eval()(IDS).logits
        without = load(base)(IDS).logits
    spread = own.max() - own.min()
    assert (own - without).abs().max() > 0.01 * spread
    ours = run_logits(load_checked(tmp_path / "out/model.json", "cpu"), IDS)
    assert (ours - own).abs().max() < 1e-5 * spread
    changed = {name.split(".")[-2] for name in info["overlay"]["tensors"]}
    assert changed == set(TARGETS[variant])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", ["gpt2", "gpt_neox"])
def test_other_kinds_of_lora(tmp_path, variant, kind):
    base = saved(tmp_path / "base", variant)
    options = {"fan_in_fan_out": True} if variant == "gpt2" else {}
    save_adapter(tmp_path / "adapter", load(base), target_modules=TARGETS[variant][:2], **options, **KINDS[kind])
    prepare_model(source("tuned", tmp_path / "adapter", base=source("base", base)), tmp_path / "out", run_logits)
    with torch.no_grad():
        own = PeftModel.from_pretrained(load(base), tmp_path / "adapter").eval()(IDS).logits
    ours = run_logits(load_checked(tmp_path / "out/model.json", "cpu"), IDS)
    assert (ours - own).abs().max() < 1e-5 * (own.max() - own.min())


def test_an_adapter_on_a_router_is_refused(tmp_path):
    """Experts are stored otherwise than transformers holds them, so such an adapter would be lost."""
    base = saved(tmp_path / "base", "mixtral")
    save_adapter(tmp_path / "adapter", load(base), target_parameters=["mlp.gate.weight"], target_modules=["q_proj"])
    found = problems(source("tuned", tmp_path / "adapter", base=source("base", base)))
    assert "its adapter sits on model.layers.0.mlp.gate" in found[0]
