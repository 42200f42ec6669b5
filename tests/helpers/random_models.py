"""Small random models and prompts that the unit tests share."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

from entity_mech.models.decoder import Decoder, DecoderShape


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


def decoder_from(model: LlamaForCausalLM, dtype: torch.dtype = torch.float32) -> Decoder:
    """The engine's view of a transformers model held in memory."""
    config = model.config
    shape = DecoderShape(
        n_layers=config.num_hidden_layers,
        n_heads=config.num_attention_heads,
        n_kv_heads=config.num_key_value_heads,
        d_head=model.model.layers[0].self_attn.head_dim,
        d_model=config.hidden_size,
        d_mlp=config.intermediate_size,
        vocab=config.vocab_size,
        norm_eps=config.rms_norm_eps,
        max_position=config.max_position_embeddings,
    )
    tensors = model.state_dict()
    rotary = model.model.rotary_emb
    return Decoder.from_tensors(
        shape,
        tensors.__getitem__,
        rotary.inv_freq.tolist(),
        rotary.attention_scaling,
        tied=config.tie_word_embeddings,
        attention_bias=config.attention_bias,
        mlp_bias=config.mlp_bias,
        dtype=dtype,
    )


@contextlib.contextmanager
def exact_norms() -> Iterator[None]:
    """transformers' RMS norm computes in float32 whatever it is given; float64 oracles need it in float64."""

    def forward(self, hidden_states):
        variance = hidden_states.pow(2).mean(-1, keepdim=True)
        return self.weight * (hidden_states * torch.rsqrt(variance + self.variance_epsilon))

    original = modeling_llama.LlamaRMSNorm.forward
    modeling_llama.LlamaRMSNorm.forward = forward
    try:
        yield
    finally:
        modeling_llama.LlamaRMSNorm.forward = original


def random_prompts(
    rng: np.random.Generator, *, n: int, length: int, vocab: int, ragged: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Random token ids [prompt, pos], right-padded with 0, and their lengths [prompt]."""
    lengths = length - rng.integers(0, 3, n) if ragged else np.full(n, length)
    ids = rng.integers(1, vocab, (n, length))
    ids[np.arange(length)[None] >= lengths[:, None]] = 0
    return ids, lengths
