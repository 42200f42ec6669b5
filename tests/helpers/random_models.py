"""Small random models and prompts that the unit tests share."""

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from entity_mech.models.assemble import assemble
from entity_mech.models.decoder import Decoder
from entity_mech.models.families.table import prepared
from entity_mech.models.prepare import describe_loaded


def random_llama(
    *,
    layers: int = 3,
    heads: int = 4,
    kv_heads: int | None = None,
    d_model: int = 32,
    d_head: int | None = None,
    d_mlp: int = 48,
    vocab: int = 61,
    seed: int = 0,
    spread: float = 0.3,
    **more,
) -> LlamaForCausalLM:
    """A Llama with random weights, large enough in scale that attention is not uniform."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=d_model,
        intermediate_size=d_mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads or heads,
        head_dim=d_head or d_model // heads,
        max_position_embeddings=128,
        rms_norm_eps=1e-6,
        tie_word_embeddings=more.pop("tie_word_embeddings", False),
        attn_implementation=more.pop("attn_implementation", "sdpa"),  # eager softmax is always float32
        initializer_range=spread,
        use_cache=False,
        **more,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.2)
    return model.requires_grad_(False)


def decoder_from(model: PreTrainedModel, dtype: torch.dtype = torch.float32) -> Decoder:
    """The engine's view of a transformers model held in memory, of any family but those with experts."""
    info = describe_loaded(model)
    return assemble(prepared(info), model.state_dict().__getitem__, info["rotary"], dtype=dtype)


@contextlib.contextmanager
def exact_norms() -> Iterator[None]:
    """transformers' norms, softmax and routers compute in float32 whatever they are given; float64 oracles need
    them in float64: while this lasts, a float64 tensor stays one."""
    to, softmax = torch.Tensor.to, torch.nn.functional.softmax

    def stays(self, *args, **kwargs):
        narrower = self.dtype == torch.float64 and args[:1] == (torch.float32,)
        return self if narrower else to(self, *args, **kwargs)

    def same_softmax(x, *args, **kwargs):
        return softmax(x, *args, **({**kwargs, "dtype": None} if x.dtype == torch.float64 else kwargs))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "to", stays)
        patch.setattr(torch.Tensor, "float", lambda self: self.to(torch.float32))
        patch.setattr(torch.nn.functional, "softmax", same_softmax)
        yield


def random_prompts(
    rng: np.random.Generator, *, n: int, length: int, vocab: int, ragged: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Random token ids [prompt, pos], right-padded with 0, and their lengths [prompt]."""
    lengths = length - rng.integers(0, 3, n) if ragged else np.full(n, length)
    ids = rng.integers(1, vocab, (n, length))
    ids[np.arange(length)[None] >= lengths[:, None]] = 0
    return ids, lengths
