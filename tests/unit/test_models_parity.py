"""A prepared model computes what transformers computes, whatever Llama's config allows."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from entity_mech.engine.clean import run_logits
from entity_mech.engine.load import load_checked
from entity_mech.errors import UserError
from entity_mech.files import read_checked_json
from entity_mech.models.loading import check_exchangeable, load_decoder, read_model
from entity_mech.models.logit_check import TOLERANCE, check_logits
from entity_mech.models.prepare import prepare_model
from tests.helpers.model_folders import IDS, save_model, save_tokenizer, source

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
    "rope_theta": 10000.0,
}
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}
SHAPES = {
    "heads": {},
    "grouped": {"kv_heads": 2},
    "one_kv_head": {"kv_heads": 1},
    "wide_heads": {"d_head": 12, "kv_heads": 2},
    "tied": {"tie_word_embeddings": True},
    "attention_bias": {"attention_bias": True, "kv_heads": 2},
    "mlp_bias": {"mlp_bias": True},
    "both_biases": {"attention_bias": True, "mlp_bias": True, "d_head": 4, "tie_word_embeddings": True},
    "llama3": {"rope_parameters": LLAMA3},
    "linear": {"rope_parameters": LINEAR, "kv_heads": 2},
    "yarn": {"rope_parameters": YARN},
    "sharded": {"shard": "12KB", "kv_heads": 2},
    "bfloat16": {"dtype": torch.bfloat16},
    "float16_tied_sharded": {"dtype": torch.float16, "tie_word_embeddings": True, "shard": "12KB"},
}


def own_logits(folder) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(IDS).logits


@pytest.mark.parametrize("name", SHAPES)
def test_logits_equal_transformers(tmp_path, name):
    folder = save_model(tmp_path / "m", **SHAPES[name])
    info = prepare_model(source(name, folder), tmp_path / "out", run_logits)
    own = own_logits(folder)
    spread = (own.max() - own.min()).item()
    ours = run_logits(load_checked(tmp_path / "out/model.json", "cpu", "float32"), IDS)
    assert (ours - own).abs().max() < 5e-6 * spread
    assert info["parity"]["difference"] < 5e-6
    double = run_logits(load_checked(tmp_path / "out/model.json", "cpu", "float64"), IDS)
    assert (double - own).abs().max() < 5e-6 * spread
    for dtype in (torch.bfloat16, torch.float16):
        coarse = run_logits(load_checked(tmp_path / "out/model.json", "cpu", dtype), IDS)
        assert (coarse - own).abs().max() < TOLERANCE[dtype] * spread
    if "shard" in SHAPES[name]:
        assert len(info["files"]) > 2


def test_model_json(tmp_path):
    folder = save_model(tmp_path / "m", dtype=torch.bfloat16, d_head=12, kv_heads=2, rope_parameters=YARN)
    info = prepare_model(source("wide", folder, dtype="float16"), tmp_path / "out", run_logits)
    written = read_checked_json(tmp_path / "out/model.json")
    assert written == info
    want = {
        "n_layers": 3,
        "n_heads": 4,
        "n_kv_heads": 2,
        "d_head": 12,
        "d_model": 32,
        "d_mlp": 48,
        "vocab": 61,
    }
    want |= {"tied": False, "attention_bias": False, "mlp_bias": False, "max_position": 128, "norm_eps": 1e-6}
    want |= {"architecture": "LlamaForCausalLM", "activation": "silu", "name": "wide", "tokenizer": "wide"}
    want |= {"stored_dtype": "bfloat16", "dtype": "float16", "adapters": []}
    assert {key: written[key] for key in want} == want
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert written["parameters"] == model.num_parameters()
    assert written["memory_bytes"]["bfloat16"] == 2 * model.num_parameters()
    assert written["rotary"]["inv_freq"] == model.model.rotary_emb.inv_freq.tolist()
    assert written["rotary"]["attention_scaling"] == model.model.rotary_emb.attention_scaling != 1
    assert written["files"] == [str(folder / "model.safetensors")]
    assert len(set(written["probe"]["ids"])) == 16
    assert len(written["probe"]["logits"]) == 16


def test_models_that_cannot_be_exchanged(tmp_path):
    infos = {
        name: prepare_model(source(name, save_model(tmp_path / name, **how)), tmp_path / f"out_{name}", run_logits)
        for name, how in {"a": {}, "b": {"seed": 1, "vocab": 63}, "deep": {"layers": 2}}.items()
    }
    check_exchangeable(infos["a"], infos["b"])  # another vocabulary does not matter
    with pytest.raises(UserError, match="models a and deep differ in n_layers 3 and 2"):
        check_exchangeable(infos["a"], infos["deep"])
    save_tokenizer(tmp_path / "b", extra="zebra")
    infos["b"] = prepare_model(source("b", tmp_path / "b"), tmp_path / "out_b", run_logits)
    with pytest.raises(UserError, match=r"models a and b differ in their tokenizers \(a and b\)"):
        check_exchangeable(infos["a"], infos["b"])


def test_model_in_the_working_directory(tmp_path, monkeypatch):
    """Its files are not mistaken for files beside model.json."""
    monkeypatch.chdir(save_model(tmp_path / "m"))
    assert prepare_model(source("m", "."), tmp_path / "out", run_logits)["files"] == ["./model.safetensors"]
    load_checked(tmp_path / "out/model.json", "cpu")


def test_prepared_twice_is_the_same_file(tmp_path):
    folder = save_model(tmp_path / "m")
    for out in ("a", "b"):
        prepare_model(source("m", folder), tmp_path / out, run_logits)
    assert (tmp_path / "a/model.json").read_bytes() == (tmp_path / "b/model.json").read_bytes()


def test_fingerprint_is_of_the_weights(tmp_path):
    """Sharding and folders leave it alone; a weight, a dtype or a name does not."""
    prints = {
        name: prepare_model(source(name, save_model(tmp_path / name, **how)), tmp_path / f"out_{name}", run_logits)[
            "fingerprint"
        ]
        for name, how in {"one": {}, "sharded": {"shard": "12KB"}, "other": {"seed": 1}}.items()
    }
    assert prints["one"] == prints["sharded"] != prints["other"]
    narrow = prepare_model(
        source("n", save_model(tmp_path / "n", dtype=torch.float16)), tmp_path / "out_n", run_logits
    )
    assert narrow["fingerprint"] != prints["one"]


def test_tied_model_that_stores_its_embedding_as_the_unembedding(tmp_path):
    folder = save_model(tmp_path / "m", tie_word_embeddings=True)
    before = own_logits(folder)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights.pop("model.embed_tokens.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    info = prepare_model(source("m", folder), tmp_path / "out", run_logits)
    assert info["tied"]
    ours = run_logits(load_checked(tmp_path / "out/model.json", "cpu"), IDS)
    assert (ours - before).abs().max() < 1e-4


def test_model_called_tied_with_two_different_embeddings(tmp_path):
    """transformers does not tie them then, so neither may the engine."""
    folder = save_model(tmp_path / "m", tie_word_embeddings=True)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = torch.randn_like(weights["model.embed_tokens.weight"])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    info = prepare_model(source("m", folder), tmp_path / "out", run_logits)
    assert not info["tied"]
    ours = run_logits(load_checked(tmp_path / "out/model.json", "cpu"), IDS)
    assert (ours - own_logits(folder)).abs().max() < 1e-4


@pytest.mark.parametrize("tensor", ["model.layers.1.self_attn.o_proj.weight", "lm_head.weight", "model.norm.weight"])
def test_changed_weights_are_refused(tmp_path, tensor):
    """One bit flipped in the exponent of one number: the fingerprint tells, and so would the probe."""
    from entity_mech.models.tensorfiles import read_header

    folder = save_model(tmp_path / "m")
    prepare_model(source("liar", folder), tmp_path / "out", run_logits)
    load_checked(tmp_path / "out/model.json", "cpu")
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[read_header(folder / "model.safetensors")[tensor].begin + 4 * 5 + 3] ^= 0x04
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(UserError, match=r"model liar: its weights .* have changed since it was prepared"):
        load_checked(tmp_path / "out/model.json", "cpu")
    changed = load_decoder(tmp_path / "out/model.json")
    with pytest.raises(UserError, match=r"model liar: the logits .* float32 differ from the model's own by"):
        check_logits(changed, read_model(tmp_path / "out/model.json"), run_logits)


def test_engine_that_computes_something_else_is_refused(tmp_path):
    """Preparing compares the engine with the model before anything is written."""
    folder = save_model(tmp_path / "m")

    def wrong(decoder, ids):
        logits = run_logits(decoder, ids)
        return logits + 2 * TOLERANCE[torch.float32] * (logits.max() - logits.min())

    with pytest.raises(UserError, match="model m: the logits"):
        prepare_model(source("m", folder), tmp_path / "out", wrong)
    assert not (tmp_path / "out/model.json").exists()


def test_missing_weights_are_named(tmp_path):
    folder = save_model(tmp_path / "m")
    prepare_model(source("m", folder), tmp_path / "out", run_logits)
    with pytest.raises(UserError, match="dtype 'int8' is not one of float32"):
        load_decoder(tmp_path / "out/model.json", "cpu", "int8")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model m: weights are missing: .*model\.safetensors"):
        load_checked(tmp_path / "out/model.json", "cpu")
