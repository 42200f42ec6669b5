"""Where models are, and what is said about them before any job runs."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import OPTConfig, OPTForCausalLM

from entity_mech.errors import UserError
from entity_mech.models.checks import check, problems
from entity_mech.models.families.table import description_of
from entity_mech.models.folders import tokenizer_digest, weight_files
from entity_mech.models.loading import resolve_device
from entity_mech.models.sources import (
    ModelSource,
    build_sources,
    chain,
    hub_sources,
    input_files,
    tokenizer_names,
    weight_bytes,
)
from tests.helpers.model_folders import save_model, save_tokenizer, source


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "good", kv_heads=2)


def with_config(good: Path, folder: Path, **keys) -> Path:
    """A copy of a model with other keys in its config.json; its weights are links."""
    folder.mkdir()
    for path in good.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "config.json").unlink()
    config = json.loads((good / "config.json").read_text()) | keys
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))
    return folder


def test_a_good_model_has_no_problems(good):
    assert problems(source("good", good)) == []
    check(source("good", good))
    assert weight_bytes(source("good", good)) == (good / "model.safetensors").stat().st_size


def test_another_architecture_is_refused_by_name(tmp_path):
    config = OPTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=20, ffn_dim=16)
    OPTForCausalLM(config).save_pretrained(tmp_path / "opt")
    save_tokenizer(tmp_path / "opt")
    (found,) = problems(source("other", tmp_path / "opt"))
    assert found.startswith("model other: its architecture is OPTForCausalLM; supported: LlamaForCausalLM, Qwen2For")
    assert found.endswith("(how to add one: docs/architecture.md)")


SETTINGS = {
    "hidden_act": ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; only 'silu' or 'swish' is supported"),
    "dynamic": (
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}},
        "rope_parameters: type 'dynamic'",
    ),
    "longrope": ({"rope_scaling": {"type": "longrope"}}, "rope_scaling: type 'longrope' is not supported"),
    "partial": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
    "tp": ({"pretraining_tp": 2}, "pretraining_tp is 2"),
    "quantized": ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config (gptq)"),
    "own_code": ({"auto_map": {"AutoModel": "code.Model"}}, "auto_map: the model brings its own code"),
    "falcon": ({"architectures": ["FalconForCausalLM"]}, "its architecture is FalconForCausalLM"),
    "other_family": (
        {"architectures": ["Qwen2ForCausalLM"]},
        "weights are missing: model.layers.0.self_attn.q",
    ),
    "headless": ({"architectures": ["LlamaModel"]}, "its architecture is LlamaModel"),
    "no_size": ({"hidden_size": ...}, "config.json: no whole number under hidden_size"),
    "ratio": ({"num_key_value_heads": 3}, "num_attention_heads 4 is no multiple of num_key_value_heads 3"),
    "shape": ({"intermediate_size": 40}, "gate_proj.weight has shape [48, 32], config.json says [40, 32]"),
    "layers": ({"num_hidden_layers": 4}, "weights are missing: model.layers.3."),
    "fewer_layers": (
        {"num_hidden_layers": 2},
        "holds weights that a Llama model with this config.json does not",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_unsupported_settings_are_refused_by_name(good, tmp_path, name):
    keys, said = SETTINGS[name]
    found = problems(source("odd", with_config(good, tmp_path / "odd", **keys)))
    assert any(said in problem for problem in found), found
    assert all(problem.startswith("model odd: ") for problem in found)


def test_biases_that_the_config_does_not_name_are_refused(good, tmp_path):
    """transformers would drop them with a warning."""
    folder = save_model(tmp_path / "m", attention_bias=True)
    config = json.loads((folder / "config.json").read_text()) | {"attention_bias": False}
    (folder / "config.json").write_text(json.dumps(config))
    assert "does not have: model.layers.0.self_attn.k_proj.bias" in problems(source("m", folder))[0]


def test_old_checkpoints_rotary_tables_are_passed_over(good, tmp_path):
    folder = with_config(good, tmp_path / "old")
    weights = load_file(good / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert problems(source("old", folder)) == []


def test_folders_that_are_no_models(good, tmp_path):
    assert "there is no folder nowhere/at/all" in problems(ModelSource("m", "./nowhere/at/all"))[0]
    (tmp_path / "empty").mkdir()
    assert "holds neither config.json" in problems(source("m", tmp_path / "empty"))[0]
    folder = with_config(good, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    assert "pickled checkpoints, *.bin or *.pt, are not read" in problems(source("m", folder))[0]
    torch.save({"x": torch.ones(1)}, folder / "pytorch_model.bin")
    said = problems(source("m", folder))
    assert len(said) == 1
    assert "only a pickled checkpoint (pytorch_model.bin), which is not read. Convert it" in said[0]
    with pytest.raises(UserError, match="Convert it to safetensors"):
        check(source("m", folder))


def test_the_way_to_convert_that_is_told_works(good, tmp_path):
    folder = with_config(good, tmp_path / "OLD")
    weights = load_file(good / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    command = re.search(r'python -c "(.*)"', problems(source("m", folder))[0])
    subprocess.run([sys.executable, "-c", command[1]], cwd=tmp_path, check=True, capture_output=True)
    assert problems(source("m", tmp_path / "NEW")) == []
    new = load_file(tmp_path / "NEW/model.safetensors")
    assert all(torch.equal(new[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize("what", ["cut", "pointer", "text"])
def test_broken_weight_files_are_refused(good, tmp_path, what):
    folder = with_config(good, tmp_path / "broken")
    whole = (good / "model.safetensors").read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    (folder / "model.safetensors").unlink()
    broken = {"cut": whole[:-10], "pointer": pointer, "text": b"\x04\0\0\0\0\0\0\0{no}"}[what]
    (folder / "model.safetensors").write_bytes(broken)
    said = {
        "cut": "copy or download it again",
        "pointer": "is a git-lfs pointer",
        "text": "header cannot be read",
    }
    assert said[what] in problems(source("m", folder))[0]


def test_missing_shard_is_named(tmp_path):
    folder = save_model(tmp_path / "m", shard="12KB")
    shard = weight_files(folder)[1]
    shard.unlink()
    assert f"lists: {shard.name}" in problems(source("m", folder))[0]


def test_base_of_another_shape_is_refused(good, tmp_path):
    """Their heads could not be compared."""
    deep = save_model(tmp_path / "deep", kv_heads=4)
    found = problems(source("tuned", good, base=source("deep", deep)))
    assert found == ["model tuned: differs from its base deep in n_kv_heads 2 and 4: their heads cannot be compared"]


def test_a_broken_base_is_told_once(good, tmp_path):
    """The fine-tuned model's own entry says nothing about it."""
    gelu = source("gelu", with_config(good, tmp_path / "gelu", hidden_act="gelu", hidden_size=...))
    gone = source("gone", tmp_path / "gone")
    assert problems(gelu)
    assert problems(gone)
    assert problems(source("tuned", good, base=gelu)) == problems(source("tuned", good, base=gone)) == []


def test_sources_from_the_config(good):
    entries = [
        {"name": "base", "path": "org/base", "revision": "v1", "label": "passed over"},
        {"name": "tuned", "path": "org/tuned", "base": "base", "adapter": True, "dtype": "bfloat16"},
        {"name": "twice", "path": "org/twice", "base": "tuned", "adapter": True},
        {"name": "local", "path": str(good), "base": "base", "tokenizer": "base"},
    ]
    sources = build_sources(entries)
    assert sources["base"].on_hub
    assert not sources["local"].on_hub
    assert [one.name for one in chain(sources["twice"])] == ["base", "tuned", "twice"]
    assert [one.name for one in chain(sources["local"])] == ["local"]
    assert {one.name for one in hub_sources([sources["twice"]])} == {"base", "tuned", "twice"}
    assert tokenizer_names(list(sources.values())) == dict.fromkeys(sources, "base")
    assert input_files(sources["base"]) == []
    assert problems(sources["twice"]) == []
    with pytest.raises(UserError, match="hub id that has not been downloaded"):
        _ = sources["base"].folder
    with pytest.raises(UserError, match="circle: a -> b -> a"):
        build_sources([{"name": "a", "path": "a", "base": "b"}, {"name": "b", "path": "b", "base": "a"}])
    with pytest.raises(UserError, match="model a: c is not one of the models"):
        build_sources([{"name": "a", "path": "a", "base": "c"}])


def test_input_files(good, tmp_path):
    names = {Path(path).name for path in input_files(source("good", good))}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    save_file({"x": torch.ones(1)}, adapter / "adapter_model.safetensors")
    files = input_files(source("tuned", adapter, base=source("good", good)))
    assert str(good / "model.safetensors") in files
    assert str(adapter / "adapter_model.safetensors") in files
    assert len(files) == len(set(files)) == 6


def test_tokenizers_are_compared_by_what_they_encode(good, tmp_path):
    """Chat templates, padding and truncation may differ; other words make another tokenizer."""
    copy = with_config(good, tmp_path / "copy")
    other = with_config(good, tmp_path / "other")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
        (other / name).unlink()
    fast = json.loads((good / "tokenizer.json").read_text())
    fast["truncation"] = {"max_length": 64, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    (copy / "tokenizer.json").write_text(json.dumps(fast))
    options = json.loads((good / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps(options | {"chat_template": "{{ x }}"}))
    save_tokenizer(other, extra="zebra")
    assert tokenizer_digest(copy) == tokenizer_digest(good) != tokenizer_digest(other)
    sources = [source("good", good), source("copy", copy), source("other", other)]
    assert tokenizer_names(sources) == {"good": "good", "copy": "good", "other": "other"}
    (other / "tokenizer_config.json").write_text(json.dumps(options | {"add_bos_token": True}))
    (other / "tokenizer.json").write_text((good / "tokenizer.json").read_text())
    assert tokenizer_digest(other) != tokenizer_digest(good)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (other / name).unlink()
    assert "holds no tokenizer" in problems(source("other", other))[0]
    fine_tuned = replace(sources[2], base=sources[0])  # its base's, then
    assert problems(fine_tuned) == []
    assert tokenizer_names([sources[0], fine_tuned]) == {"good": "good", "other": "good"}


def test_sizes_and_memory_of_llama_7b():
    """Known numbers: 6,738,415,616 parameters."""
    config = {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "vocab_size": 32000,
    }
    sizes = description_of(config)
    assert sizes.parameters() == 6_738_415_616
    assert sizes.memory() == {"float32": 4 * 6_738_415_616, "bfloat16": 2 * 6_738_415_616}


def test_device_and_dtype_are_checked(good):
    assert "device 'gpu' is not auto" in problems(source("m", good, device="gpu"))[0]
    assert "dtype 'half' is not one of float32" in problems(source("m", good, dtype="half"))[0]
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="device cuda:99 was asked for"):
        resolve_device("cuda:99")


def test_what_a_snakefile_calls_imports_no_heavy_package():
    code = (
        "import sys, entity_mech.models.checks, entity_mech.models.sources; "
        "print({'torch', 'numpy', 'transformers', 'safetensors', 'huggingface_hub'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
