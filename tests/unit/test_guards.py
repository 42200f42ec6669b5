"""A model that its family describes wrongly is refused on load, and so is an engine that patches wrongly."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch

from entity_mech.engine import direct_paths, guards, suffix
from entity_mech.engine.block import attention_add, close
from entity_mech.engine.clean import run_logits
from entity_mech.engine.guards import check_guards
from entity_mech.engine.load import load_checked
from entity_mech.errors import UserError
from entity_mech.models.decoder import Decoder, Norm
from entity_mech.models.loading import build_decoder, read_model
from entity_mech.models.logit_check import check_logits
from entity_mech.models.prepare import prepare_model
from tests.helpers.family_models import family_model
from tests.helpers.model_folders import save_model, save_tokenizer, source

Change = Callable[[Decoder], Decoder]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    @cache
    def prepare(variant: str):
        folder = tmp_path_factory.mktemp("guards")
        if variant == "llama":
            save_model(folder / "m", kv_heads=2)
        else:
            family_model(variant).save_pretrained(folder / "m")
            save_tokenizer(folder / "m")
        prepare_model(source(variant, folder / "m"), folder / "out", run_logits, prove=check_guards)
        info = read_model(folder / "out/model.json")
        return info, build_decoder(info, folder / "out")

    return prepare


def block(**change) -> Change:
    return lambda decoder: replace(decoder, block=replace(decoder.block, **change))


def layers(**change) -> Change:
    return lambda decoder: replace(decoder, layers=tuple(replace(w, **change) for w in decoder.layers))


def swapped_norms(decoder: Decoder) -> Decoder:
    return replace(
        decoder, layers=tuple(replace(w, norm_attn=w.norm_mlp, norm_mlp=w.norm_attn) for w in decoder.layers)
    )


def whole_head_rotated(decoder: Decoder) -> Decoder:
    table = decoder.layers[0].rotary
    wide = replace(table, cos=torch.cat((table.cos, table.cos), -1), sin=torch.cat((table.sin, table.sin), -1))
    return layers(rotary=wide)(decoder)


def one_table(decoder: Decoder) -> Decoder:
    return layers(rotary=decoder.layers[1].rotary)(decoder)


def norm_before(decoder: Decoder) -> Decoder:
    s = decoder.shape
    return layers(norm_attn=Norm(torch.ones(s.d_model), 1e-5))(decoder)


def offset_norm(decoder: Decoder) -> Decoder:
    return replace(decoder, norm_final=replace(decoder.norm_final, weight=decoder.norm_final.weight - 1))


WRONG: dict[str, tuple[str, Change]] = {
    "parallel for sequential": ("llama", block(parallel=True)),
    "sequential for parallel": ("gpt_neox", block(parallel=False)),
    "parallel, declared for another": ("gpt_neox, sequential", block(parallel=True)),
    "another activation": ("gpt2", block(activation="gelu")),
    "SiLU for GELU": ("gemma2", block(activation="silu")),
    "another scale": ("gemma2", block(scale=12**-0.5)),
    "no cap on scores": ("gemma2", block(score_cap=None)),
    "no cap on logits": ("gemma2", block(logit_cap=None)),
    "no scaled embedding": ("gemma3", block(embed_scale=1.0)),
    "norms less 1": ("gemma3", offset_norm),
    "no window": ("mistral", block(windows=(None,) * 3)),
    "a wrong window": ("mistral", block(windows=(6,) * 3)),
    "windows in the wrong layers": ("gemma2", block(windows=(None, 5, None))),
    "one rotary table for two": ("gemma3", one_table),
    "no rotary embedding": ("qwen2", layers(rotary=None)),
    "the whole head rotated": ("phi3", whole_head_rotated),
    "no learned positions": ("gpt2", lambda decoder: replace(decoder, positions=None)),
    "no biases": ("qwen2", layers(qkv_bias=None)),
    "no norm of q and k": ("qwen3", layers(q_norm=None, k_norm=None)),
    "no norm after attention": ("gemma2", layers(norm_attn_out=None)),
    "no norm after the MLP": ("olmo2", layers(norm_mlp_out=None)),
    "a norm before attention": ("olmo2", norm_before),
    "norms in each other's place": ("llama", swapped_norms),
    "another number of experts": ("mixtral", block(experts_per_token=1)),
    "experts' shares as they are": ("mixtral", block(experts_sum_to_one=False)),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_description_is_refused(prepared, what):
    variant, change = WRONG[what]
    info, decoder = prepared(variant)
    check_logits(decoder, info, run_logits)
    check_guards(decoder, info)
    wrong = change(decoder)
    with pytest.raises(UserError, match=f"model {variant}: the logits"):
        check_logits(wrong, info, run_logits)
    with pytest.raises(UserError, match=f"model {variant}: .* its family's file is wrong for it"):
        check_guards(wrong, info)


@pytest.mark.parametrize("variant", ["gemma2", "olmo2", "qwen2"])
def test_a_wrong_claim_that_heads_add_up_is_refused(prepared, variant, monkeypatch):
    info, decoder = prepared(variant)
    assert decoder.additive is info["wiring"]["additive"] is (variant == "qwen2")
    monkeypatch.setattr(Decoder, "additive", not decoder.additive)
    with pytest.raises(UserError, match="heads do not add up as its family says"):
        check_guards(decoder, info)


def sequential(decoder: Decoder, layer: int, x: torch.Tensor, *outs: tuple[slice, torch.Tensor]) -> None:
    plain = block(parallel=False)(decoder)
    for rows, out in outs:
        x[rows] = close(plain, layer, x[rows], out.expand_as(x[rows]))


def without_norm(decoder: Decoder, layer: int, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    return close(layers(norm_attn_out=None)(decoder), layer, x, out)


ENGINES = {
    "paths that take parallel branches one after the other": ("gpt_neox", direct_paths, "close_", sequential),
    "patches that leave out a norm": ("gemma2", suffix, "close", without_norm),
    "what attention adds without its norm": ("olmo2", guards, "attention_add", lambda decoder, layer, out: out),
}
SAYS = dict(
    zip(
        ENGINES, ("one path's effect is not its own", "patched heads do not have", "heads do not add up"), strict=True
    )
)


@pytest.mark.parametrize("what", ENGINES)
def test_an_engine_that_patches_wrongly_is_refused_though_its_logits_are_right(prepared, what, monkeypatch):
    variant, module, name, wrong = ENGINES[what]
    info, decoder = prepared(variant)
    monkeypatch.setattr(module, name, wrong)
    check_logits(decoder, info, run_logits)
    with pytest.raises(UserError, match=SAYS[what]):
        check_guards(decoder, info)


def test_head_outputs_are_what_the_output_projection_reads(prepared):
    info, decoder = prepared("llama")
    z = [list(row) for row in info["wiring"]["z"]]
    z[1][2] += 0.5
    with pytest.raises(UserError, match="head outputs are not what its output projection reads"):
        check_guards(decoder, {**info, "wiring": {**info["wiring"], "z": z}})


def test_guards_stand_at_every_load(prepared, tmp_path, monkeypatch):
    folder = save_model(tmp_path / "m")
    prepare_model(source("m", folder), tmp_path / "out", run_logits)
    load_checked(tmp_path / "out/model.json", "cpu", "bfloat16")
    monkeypatch.setattr(suffix, "close", without_attention)
    with pytest.raises(UserError, match="patched heads do not have the effect"):
        load_checked(tmp_path / "out/model.json", "cpu")


def without_attention(decoder: Decoder, layer: int, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    return close(decoder, layer, x, torch.zeros_like(out))


def test_attention_adds_what_its_norm_makes_of_the_output_projection(prepared):
    _, decoder = prepared("gemma2")
    out = torch.randn(3, decoder.shape.d_model)
    added = attention_add(decoder, 1, out)
    norm = decoder.layers[1].norm_attn_out
    wanted = out * torch.rsqrt(out.pow(2).mean(-1, keepdim=True) + norm.eps) * norm.weight
    torch.testing.assert_close(added, wanted)
