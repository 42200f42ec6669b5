"""How families' configs and files come: what is not computed is refused by name, older names of weights are read."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from entity_mech.engine.clean import run_logits
from entity_mech.engine.guards import check_guards
from entity_mech.engine.load import load_checked
from entity_mech.models.checks import problems
from entity_mech.models.families.table import FAMILIES, config_problems, description_of
from entity_mech.models.prepare import prepare_model
from tests.helpers.family_models import VARIANTS, family_model
from tests.helpers.model_folders import IDS, save_model, save_tokenizer, source

REFUSED = {
    "gemma2": ({"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
    "gemma3": ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0; only None is supported"),
    "gpt2": ({"add_cross_attention": True}, "add_cross_attention is True; only False is supported"),
    "gpt2, scaled by layer": ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
    "gpt2, activation": ({"activation_function": "relu"}, "activation_function is 'relu'; only 'gelu' or 'gelu_new'"),
    "gpt_neox": ({"hidden_act": "gelu_fast"}, "hidden_act is 'gelu_fast'"),
    "gpt_neox, rotary": ({"rope_parameters": {"rope_type": "dynamic"}}, "rope_parameters: type 'dynamic'"),
    "phi3": ({"rope_scaling": {"type": "longrope"}}, "rope_scaling: type 'longrope' is not supported, only default"),
    "qwen3": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5; only 1 is supported"),
    "qwen3_moe": ({"decoder_sparse_step": 2}, "decoder_sparse_step is 2; only 1 is supported"),
    "qwen3_moe, plain layers": ({"mlp_only_layers": [1]}, "mlp_only_layers is [1]"),
    "mistral": ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    "olmo2": ({"num_key_value_heads": 3}, "num_attention_heads 4 is no multiple of num_key_value_heads 3"),
    "mixtral": ({"auto_map": {"AutoModel": "code.Model"}}, "auto_map: the model brings its own code"),
}


def saved_config(folder, variant: str) -> dict:
    family_model(variant).config.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    return {**config, "architectures": [type(family_model(variant)).__name__]}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_computed_is_refused_by_name(tmp_path, what):
    config = saved_config(tmp_path, what.partition(",")[0])
    assert config_problems(config) == []
    keys, said = REFUSED[what]
    (problem,) = config_problems({**config, **keys})
    assert said in problem


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_config_file_reads_as_what_transformers_makes_of_it(tmp_path, variant):
    """Before any job runs only config.json is there, without the keys that have their default."""
    model = family_model(variant)
    raw = saved_config(tmp_path, variant)
    whole = {**model.config.to_dict(), "architectures": raw["architectures"]}
    assert description_of(raw) == description_of(whole)
    assert description_of(raw).parameters() == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_defaults_are_those_of_transformers(family):
    """A key that a config.json leaves out means the same here and there."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(family.model_type)
    whole = {**config.to_dict(), "architectures": [family.architecture]}
    needed = {family.key(size) for size in ("n_layers", "n_heads", "d_model", "d_mlp", "vocab", "n_kv_heads")}
    sparse = {key: whole[key] for key in needed if key in whole} | {"architectures": [family.architecture]}
    ours, theirs = description_of(sparse), description_of(whole)
    assert (ours.sizes, ours.block) == (theirs.sizes, theirs.block)


def renamed(variant: str, folder, rename, more: dict[str, torch.Tensor]):
    """A model saved with other names of its weights, and with tables that are none; and its logits."""
    model = family_model(variant)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    with torch.no_grad():
        own = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(IDS).logits
    weights = {rename(name): value for name, value in load_file(folder / "model.safetensors").items()}
    save_file({**weights, **more}, folder / "model.safetensors", metadata={"format": "pt"})
    return own


FILES = {
    "gpt2": (lambda name: name.removeprefix("transformer."), {"h.0.attn.bias": torch.ones(1, 1, 4, 4)}),
    "gpt_neox": (
        lambda name: name.replace("lm_head", "embed_out"),
        {
            "gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 4, 4),
            "gpt_neox.layers.0.attention.masked_bias": torch.tensor(-1e9),
            "gpt_neox.layers.0.attention.rotary_emb.inv_freq": torch.ones(2),
        },
    ),
    "gemma2": (lambda name: name, {}),
}


@pytest.mark.parametrize("variant", FILES)
def test_weights_under_older_names(tmp_path, variant):
    own = renamed(variant, tmp_path / "m", *FILES[variant])
    assert problems(source(variant, tmp_path / "m")) == []
    prepare_model(source(variant, tmp_path / "m"), tmp_path / "out", run_logits, prove=check_guards)
    ours = run_logits(load_checked(tmp_path / "out/model.json", "cpu"), IDS)
    assert (ours - own).abs().max() < 1e-5 * (own.max() - own.min())


def test_models_of_two_families_cannot_be_exchanged(tmp_path):
    """Even of one shape: their heads are put together otherwise."""
    base = save_model(tmp_path / "base", kv_heads=2, d_mlp=40)
    family_model("qwen2").save_pretrained(tmp_path / "m")
    save_tokenizer(tmp_path / "m")
    (found,) = problems(source("m", tmp_path / "m", base=source("base", base)))
    assert "differs from its base base in family Qwen2 and Llama" in found
