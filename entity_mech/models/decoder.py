"""The weights of a Llama-architecture decoder, laid out for the intervention engine.

Shape legend, used everywhere: prompt, pos, layer, head, kv_head, d_head, d_model, d_mlp, vocab.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DecoderShape:
    """Sizes and constants of a decoder; nothing here is ever derived by dividing other sizes."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    d_mlp: int
    vocab: int
    norm_eps: float
    max_position: int

    @property
    def group(self) -> int:
        """Query heads that share one key/value head."""
        return self.n_heads // self.n_kv_heads


@dataclass(frozen=True)
class Checkpoint:
    """A model's stored tensors, by their transformers (Llama) names, and which of them there are."""

    get: Callable[[str], Tensor]
    tied: bool  # the unembedding is the embedding
    attention_bias: bool
    mlp_bias: bool


@dataclass(frozen=True)
class Rotary:
    """Rotary position embedding: angle per position of each pair of dimensions, and a factor on the table."""

    inv_freq: list[float]  # [d_head / 2]
    attention_scaling: float


@dataclass(frozen=True)
class LayerWeights:
    """One layer. Linear weights are stored [out, in] as torch.nn.Linear has them; biases may be absent."""

    norm_attn: Tensor  # [d_model]
    qkv: Tensor  # [(head + 2 kv_head) * d_head, d_model]: queries, keys, values
    qkv_bias: Tensor | None
    out: Tensor  # [d_model, head * d_head]
    out_bias: Tensor | None
    norm_mlp: Tensor  # [d_model]
    gate_up: Tensor  # [2 * d_mlp, d_model]: gate, up
    gate_up_bias: Tensor | None
    down: Tensor  # [d_model, d_mlp]
    down_bias: Tensor | None
    out_by_head: Tensor  # [head, d_head, d_model]: what each head's output adds to the residual stream


@dataclass(frozen=True)
class Decoder:
    """A decoder ready to run: weights, rotary tables and sizes, on one device in one dtype."""

    shape: DecoderShape
    layers: tuple[LayerWeights, ...]
    embedding: Tensor  # [vocab, d_model]
    norm_final: Tensor  # [d_model]
    unembedding: Tensor  # [vocab, d_model]
    rotary_cos: Tensor  # [max_position, d_head]
    rotary_sin: Tensor  # [max_position, d_head]
    name: str = "model"

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.dtype

    @property
    def scale(self) -> float:
        """Factor on attention scores, 1 / sqrt(d_head)."""
        return float(self.shape.d_head**-0.5)

    def rows(self, layer: int, kind: str, heads: list[int]) -> tuple[Tensor, Tensor | None]:
        """Weight [len(heads) * d_head, d_model] (and bias) that makes the given heads' q, k or v.

        For k and v the heads are key/value heads.
        """
        s = self.shape
        first = {"q": 0, "k": s.n_heads, "v": s.n_heads + s.n_kv_heads}[kind]
        w = self.layers[layer]
        index = [first + h for h in heads]
        weight = w.qkv.view(-1, s.d_head, s.d_model)[index].flatten(0, 1)
        bias = None if w.qkv_bias is None else w.qkv_bias.view(-1, s.d_head)[index].flatten()
        return weight, bias

    @staticmethod
    def from_tensors(
        shape: DecoderShape,
        checkpoint: Checkpoint,
        rotary: Rotary,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        name: str = "model",
    ) -> Decoder:
        """Weights read from a checkpoint, on a device and in a dtype."""

        def load(key: str) -> Tensor:
            return checkpoint.get(key).to(device=device, dtype=dtype)

        def packed(names: list[str], biased: bool) -> tuple[Tensor, Tensor | None]:
            weight = torch.cat([load(f"{n}.weight") for n in names])
            return weight, torch.cat([load(f"{n}.bias") for n in names]) if biased else None

        def layer(i: int) -> LayerWeights:
            at, ml = f"model.layers.{i}.self_attn", f"model.layers.{i}.mlp"
            qkv, qkv_bias = packed([f"{at}.{n}_proj" for n in "qkv"], checkpoint.attention_bias)
            out, out_bias = packed([f"{at}.o_proj"], checkpoint.attention_bias)
            gate_up, gate_up_bias = packed([f"{ml}.gate_proj", f"{ml}.up_proj"], checkpoint.mlp_bias)
            down, down_bias = packed([f"{ml}.down_proj"], checkpoint.mlp_bias)
            by_head = out.view(shape.d_model, shape.n_heads, shape.d_head).permute(1, 2, 0).contiguous()
            return LayerWeights(
                norm_attn=load(f"model.layers.{i}.input_layernorm.weight"),
                qkv=qkv,
                qkv_bias=qkv_bias,
                out=out,
                out_bias=out_bias,
                norm_mlp=load(f"model.layers.{i}.post_attention_layernorm.weight"),
                gate_up=gate_up,
                gate_up_bias=gate_up_bias,
                down=down,
                down_bias=down_bias,
                out_by_head=by_head,
            )

        # The angles are made in float32 whatever the dtype, as transformers does.
        freq = torch.tensor(rotary.inv_freq, dtype=torch.float32)
        angle = torch.outer(torch.arange(shape.max_position, dtype=torch.float32), freq)
        angle = torch.cat((angle, angle), -1)
        embedding = load("model.embed_tokens.weight")
        return Decoder(
            shape=shape,
            layers=tuple(layer(i) for i in range(shape.n_layers)),
            embedding=embedding,
            norm_final=load("model.norm.weight"),
            unembedding=embedding if checkpoint.tied else load("lm_head.weight"),
            rotary_cos=(angle.cos() * rotary.attention_scaling).to(device=device, dtype=dtype),
            rotary_sin=(angle.sin() * rotary.attention_scaling).to(device=device, dtype=dtype),
            name=name,
        )
