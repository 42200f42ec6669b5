"""PEFT adapters are merged into the weights as PEFT itself runs them, and every method sees them."""

import json

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, PromptTuningConfig, VeraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from entity_mech.engine.clean import run_clean, run_logits
from entity_mech.engine.load import load_checked
from entity_mech.errors import UserError
from entity_mech.models.checks import problems
from entity_mech.models.prepare import prepare_model
from tests.helpers.model_folders import IDS, save_adapter, save_model, save_tokenizer, source

ADAPTERS = {
    "attention": ({"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}, {"kv_heads": 2}),
    "o_proj": ({"target_modules": ["o_proj"]}, {}),
    "all_linear": ({"target_modules": "all-linear", "use_rslora": True}, {"attention_bias": True}),
    "with_bias": ({"target_modules": ["q_proj"], "bias": "all"}, {"attention_bias": True}),
    "dora": ({"target_modules": ["v_proj", "down_proj"], "use_dora": True}, {}),
    "embedding": ({"target_modules": ["embed_tokens", "q_proj"]}, {}),
    "head_saved": ({"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]}, {}),
    "tied_embedding": ({"target_modules": ["embed_tokens"]}, {"tie_word_embeddings": True}),
    "tied_head": ({"target_modules": ["lm_head", "q_proj"]}, {"tie_word_embeddings": True}),
    "tied_untouched": ({"target_modules": ["q_proj"]}, {"tie_word_embeddings": True}),
    "tied_kept_tied": (
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        {"tie_word_embeddings": True},
    ),
    "bfloat16_base": ({"target_modules": ["q_proj", "o_proj"]}, {"dtype": torch.bfloat16}),
}


def load(folder) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def peft_logits(base, *adapters) -> torch.Tensor:
    """Logits of the last adapter unmerged over the others merged, as a user of PEFT would have them."""
    model = load(base)
    for adapter in adapters[:-1]:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    with torch.no_grad():
        return PeftModel.from_pretrained(model, adapters[-1]).eval()(IDS).logits


def untied(folder) -> torch.nn.Module:
    """What PEFT's warning about tied embeddings tells one to do: an equal model without the tie."""
    model = load(folder)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.config.tie_word_embeddings = False
    return model


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings", "ignore:Model with `tie_word_embeddings")
@pytest.mark.parametrize("name", ADAPTERS)
def test_merged_equals_peft(tmp_path, name):
    lora, config = ADAPTERS[name]
    base = save_model(tmp_path / "base", **config)
    keep_tied = lora.get("ensure_weight_tying") or not config.get("tie_word_embeddings")
    over = save_adapter(tmp_path / "adapter", load(base) if keep_tied else untied(base), **lora)
    with torch.no_grad():
        own, without = over(IDS).logits, load(base)(IDS).logits
    spread = (own.max() - own.min()).item()
    assert (own - without).abs().max() > 0.01 * spread
    tuned = source("tuned", tmp_path / "adapter", base=source("base", base))
    info = prepare_model(tuned, tmp_path / "out", run_logits)
    ours = run_logits(load_checked(tmp_path / "out/model.json", "cpu"), IDS)
    assert (ours - own).abs().max() < 1e-5 * spread
    assert info["files"] == [str(base / "model.safetensors"), "merged.safetensors"]
    assert info["tokenizer"] == "base"
    assert info["adapters"] == ["tuned"]


def test_adapter_on_o_proj_alone(tmp_path):
    """Heads' outputs are the base's in the first layer; what they add to the stream is not, and both ways in
    which the engine holds the output weights have changed."""
    base = save_model(tmp_path / "base", d_head=12, kv_heads=2)
    save_adapter(tmp_path / "adapter", load(base), target_modules=["o_proj"])
    tuned = source("tuned", tmp_path / "adapter", base=source("base", base))
    info = prepare_model(tuned, tmp_path / "out", run_logits)
    prepare_model(source("base", base), tmp_path / "out_base", run_logits)
    assert info["overlay"]["tensors"] == [f"model.layers.{i}.self_attn.o_proj.weight" for i in range(3)]
    ours, plain = (load_checked(tmp_path / out / "model.json", "cpu") for out in ("out", "out_base"))
    run, run_plain = run_clean(ours, IDS), run_clean(plain, IDS)
    assert torch.equal(run.z[0], run_plain.z[0])
    assert not torch.allclose(run.attn_out[0], run_plain.attn_out[0], atol=1e-2)
    for layer in range(3):
        merged = load_file(tmp_path / "out/merged.safetensors")[f"model.layers.{layer}.self_attn.o_proj.weight"]
        assert torch.equal(ours.layers[layer].out, merged)
        by_head = torch.einsum("phd,hdm->pm", run.z[layer][0], ours.layers[layer].out_by_head)
        torch.testing.assert_close(by_head, run.attn_out[layer][0], atol=1e-4, rtol=1e-4)


def test_adapter_over_adapter(tmp_path):
    """Merged in order; the second one was trained over the first."""
    base = save_model(tmp_path / "base")
    first = save_adapter(tmp_path / "first", load(base), target_modules=["q_proj", "o_proj"])
    save_adapter(tmp_path / "second", first.merge_and_unload(), seed=2, target_modules=["o_proj", "up_proj"])
    chain = source("second", tmp_path / "second", base=source("first", tmp_path / "first", base=source("base", base)))
    info = prepare_model(chain, tmp_path / "out", run_logits)
    own = peft_logits(base, tmp_path / "first", tmp_path / "second")
    ours = run_logits(load_checked(tmp_path / "out/model.json", "cpu"), IDS)
    assert (ours - own).abs().max() < 1e-5 * (own.max() - own.min())
    assert info["adapters"] == ["first", "second"]
    changed = {name.split(".")[-2] for name in info["overlay"]["tensors"]}
    assert changed == {"q_proj", "o_proj", "up_proj"}
    lone = source("second", tmp_path / "second", base=source("base", base))
    alone = prepare_model(lone, tmp_path / "alone", run_logits)
    assert alone["fingerprint"] != info["fingerprint"]


@pytest.mark.parametrize(
    "config",
    [
        IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        VeraConfig(task_type="CAUSAL_LM", r=8, target_modules=["q_proj"]),
    ],
    ids=["ia3", "vera"],
)
def test_other_types_of_adapter(tmp_path, config):
    base = save_model(tmp_path / "base")
    over = save_adapter(tmp_path / "adapter", load(base), config)
    with torch.no_grad():
        own = over(IDS).logits
    tuned = source("tuned", tmp_path / "adapter", base=source("base", base))
    prepare_model(tuned, tmp_path / "out", run_logits)
    ours = run_logits(load_checked(tmp_path / "out/model.json", "cpu"), IDS)
    assert (ours - own).abs().max() < 1e-5 * (own.max() - own.min())


def test_small_change_of_a_16_bit_base_survives(tmp_path):
    """A delta far below bfloat16's resolution is kept, because merged weights are stored in float32."""
    base = save_model(tmp_path / "base", dtype=torch.bfloat16)
    save_adapter(tmp_path / "adapter", load(base), target_modules=["q_proj"])
    weights = load_file(tmp_path / "adapter/adapter_model.safetensors")
    save_file({k: 1e-2 * v for k, v in weights.items()}, tmp_path / "adapter/adapter_model.safetensors")
    tuned = source("tuned", tmp_path / "adapter", base=source("base", base))
    info = prepare_model(tuned, tmp_path / "out", run_logits)
    assert (info["stored_dtype"], info["overlay"]["dtype"]) == ("bfloat16", "float32")
    merged = load_file(tmp_path / "out/merged.safetensors")
    plain = load_file(base / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    delta = merged[name] - plain[name].float()
    wanted = 2 * weights["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"] * 1e-4
    wanted = wanted @ weights["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"]
    torch.testing.assert_close(delta, wanted, atol=1e-6, rtol=1e-2)
    kept = merged[name].to(torch.bfloat16) != plain[name]
    assert (delta != 0).float().mean() > 0.95 > 0.1 > kept.float().mean()  # 16 bits would have lost it


def test_adapter_that_changes_nothing_is_refused(tmp_path):
    base = save_model(tmp_path / "base")
    model = get_peft_model(load(base), LoraConfig(r=4, target_modules=["q_proj"]))
    model.save_pretrained(tmp_path / "adapter")
    tuned = source("tuned", tmp_path / "adapter", base=source("base", base))
    with pytest.raises(UserError, match=r"model tuned: merging .* changed no weight of base"):
        prepare_model(tuned, tmp_path / "out", run_logits)


def test_adapter_of_another_shape_is_refused(tmp_path):
    wide, narrow, shallow = (
        save_model(tmp_path / name, **config)
        for name, config in {"wide": {}, "narrow": {"d_model": 16}, "shallow": {"layers": 2}}.items()
    )
    save_adapter(tmp_path / "adapter", load(wide), target_modules=["q_proj"])
    found = problems(source("tuned", tmp_path / "adapter", base=source("narrow", narrow)))
    assert "has shape [4, 32], but the weight it sits on in narrow has [16, 16]" in found[0]
    found = problems(source("tuned", tmp_path / "adapter", base=source("shallow", shallow)))
    assert found[0].endswith("sits on model.layers.2.self_attn.q_proj, which shallow does not have")
    assert problems(source("tuned", tmp_path / "adapter", base=source("wide", wide))) == []
    assert "is a PEFT adapter; name the model it sits on" in problems(source("tuned", tmp_path / "adapter"))[0]


def test_adapter_without_all_its_weights_is_refused(tmp_path):
    """PEFT would warn and leave them at their start, where they do nothing."""
    base = save_model(tmp_path / "base")
    save_adapter(tmp_path / "adapter", load(base), target_modules=["q_proj", "v_proj"])
    path = tmp_path / "adapter/adapter_model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if "v_proj" not in k}, path)
    tuned = source("tuned", tmp_path / "adapter", base=source("base", base))
    with pytest.raises(UserError, match=r"model tuned: .* lacks weights that its config asks for"):
        prepare_model(tuned, tmp_path / "out", run_logits)


def test_adapters_that_cannot_be_merged_are_refused(tmp_path):
    base = save_model(tmp_path / "base")
    model = get_peft_model(load(base), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    model.save_pretrained(tmp_path / "adapter")
    tuned = source("tuned", tmp_path / "adapter", base=source("base", base))
    assert problems(tuned) == ["model tuned: its adapter is PROMPT_TUNING, which cannot be merged into the weights"]
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    config["peft_type"] = "NO_SUCH_TYPE"
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="model tuned: PEFT cannot load"):
        prepare_model(tuned, tmp_path / "out", run_logits)


def test_tokenizers_that_should_agree(tmp_path):
    """An adapter's own tokenizer must encode like its base's; a copy does, other ids do not."""
    base = save_model(tmp_path / "base")
    save_adapter(tmp_path / "adapter", load(base), target_modules=["q_proj"])
    tuned = source("tuned", tmp_path / "adapter", base=source("base", base))
    save_tokenizer(tmp_path / "adapter", extra="zebra")  # one more word, unused: same ids elsewhere
    with pytest.raises(UserError, match="models tuned and base are said to share a tokenizer"):
        prepare_model(tuned, tmp_path / "out", run_logits, texts=["The zebra is in Box A"])
    save_tokenizer(tmp_path / "adapter")
    assert prepare_model(tuned, tmp_path / "out", run_logits)["tokenizer"] == "base"
    save_tokenizer(tmp_path / "adapter", words="apple The in is Box , . contains the key")
    with pytest.raises(UserError, match=r"models tuned and base are said to share a tokenizer.*'The apple is in"):
        prepare_model(tuned, tmp_path / "out", run_logits)
