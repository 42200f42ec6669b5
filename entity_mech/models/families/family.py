"""What a model family is: what its config.json says, what its block computes, and where its weights lie.

Standard library only, so that a model can be checked before any job runs. A model proves the rest when it is
prepared and on every load: `entity_mech/engine/guards.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# What a size is called in a config.json, unless a family says otherwise.
KEYS = {
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "d_head": "head_dim",
    "d_model": "hidden_size",
    "d_mlp": "intermediate_size",
    "vocab": "vocab_size",
    "max_position": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
    "activation": "hidden_act",
}
# Names that configs give to the three functions that an MLP may have here.
SILU, GELU, GELU_TANH = ("silu", "swish"), ("gelu",), ("gelu_new", "gelu_pytorch_tanh")
FUNCTIONS = dict.fromkeys(SILU, "silu") | dict.fromkeys(GELU, "gelu") | dict.fromkeys(GELU_TANH, "gelu_tanh")
FULL, WINDOWED = "full_attention", "sliding_attention"  # transformers' names for the two kinds of layer


@dataclass(frozen=True)
class Sizes:
    """Sizes of a decoder; nothing here is ever derived by dividing other sizes, but where a config leaves it out."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    d_mlp: int
    vocab: int
    max_position: int
    norm_eps: float
    tied: bool  # the unembedding is the embedding

    @property
    def group(self) -> int:
        """Query heads that share one key/value head."""
        return self.n_heads // self.n_kv_heads


@dataclass(frozen=True)
class Block:
    """What a layer computes with its weights, and what stands before the first and after the last.

    scale: factor on attention scores. windows: tokens that a layer's queries see, themselves included (None: all).
    rotary: which rotary table a layer uses (None: none). score_cap, logit_cap: c * tanh(x / c). unit_offset: norms
    are stored less 1.
    """

    scale: float
    windows: tuple[int | None, ...]
    rotary: tuple[str | None, ...]
    norm: str = "rms"  # or `layer`, which has biases
    unit_offset: bool = False
    parallel: bool = False  # the MLP reads the stream before attention
    activation: str = "silu"  # or gelu, gelu_tanh
    gated: bool = True
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: str | None = None  # of each head's q and k (`head`), or of all heads' together (`width`)
    score_cap: float | None = None
    logit_cap: float | None = None
    embed_scale: float = 1.0
    experts: int = 0
    experts_per_token: int = 0
    experts_sum_to_one: bool = True

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Block:
        """The block that `dataclasses.asdict` wrote to a model.json."""
        given: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in values.items()}
        return Block(**given)


@dataclass(frozen=True)
class Layout:
    """Names of a family's weights, without `.weight`; "" for what it has not. `{}` stands for a number.

    qkv, up: one name a part (q, k, v; gate, up), or one for all parts. transposed: linear weights lie as [in, out].
    interleaved: qkv is fused head by head. experts: prefix of one expert's up and down. other_names: what a
    weight may be called in files. ignored: endings of stored tables that are no weights.
    """

    layer: str
    qkv: tuple[str, ...]
    out: str
    up: tuple[str, ...]
    down: str
    embedding: str
    norm_final: str
    unembedding: str = "lm_head"
    positions: str = ""
    norm_attn: str = ""
    norm_attn_out: str = ""
    norm_mlp: str = ""
    norm_mlp_out: str = ""
    q_norm: str = ""
    k_norm: str = ""
    router: str = ""
    experts: str = ""
    transposed: bool = False
    interleaved: bool = False
    other_names: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ("rotary_emb.inv_freq",)

    def prefixed(self, layer: int, name: str) -> str:
        """A weight or module of one layer by its whole name."""
        return self.layer.format(layer) + name

    @property
    def prefix(self) -> str:
        """What the body's names begin with; files of the body alone leave it out."""
        return self.layer.partition(".")[0] + "."


# The names that most families share with Llama.
LLAMA_LAYOUT = Layout(
    layer="model.layers.{}.",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    out="self_attn.o_proj",
    up=("mlp.gate_proj", "mlp.up_proj"),
    down="mlp.down_proj",
    embedding="model.embed_tokens",
    norm_final="model.norm",
    norm_attn="input_layernorm",
    norm_mlp="post_attention_layernorm",
)


@dataclass(frozen=True)
class Family:
    """One architecture. Its file declares this and nothing else.

    name, differs: for people. block: what is computed, from a config whose missing keys are filled with `defaults`.
    keys: where sizes are called otherwise than in KEYS, "" for one that no key says. computed: config key -> the
    values that are computed; any other is refused by name. rotary_types: kinds of rotary embedding whose angles are
    the same at every length. rotary_buffer: the module that makes the angles. brings_code: its repositories hold code
    that transformers does not need.
    """

    name: str
    architecture: str
    model_type: str
    differs: str
    block: Callable[[Mapping[str, Any], Sizes], Block]
    layout: Layout = LLAMA_LAYOUT
    keys: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    activations: tuple[str, ...] = SILU
    computed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    rotary_types: tuple[str, ...] = ("default", "linear", "llama3", "yarn")
    partial_rotary: bool = False
    rotary_buffer: str = "model.rotary_emb"
    brings_code: bool = False

    def key(self, size: str) -> str:
        """The config's name for a size."""
        return self.keys.get(size, KEYS[size])

    def sizes(self, config: Mapping[str, Any]) -> Sizes:
        """Read a config.json; keys that may be absent have the defaults that transformers gives them."""
        given = {**self.defaults, **config}
        heads, d_model = int(given[self.key("n_heads")]), int(given[self.key("d_model")])
        return Sizes(
            n_layers=int(given[self.key("n_layers")]),
            n_heads=heads,
            n_kv_heads=int(given.get(self.key("n_kv_heads")) or heads),
            d_head=int(given.get(self.key("d_head")) or d_model // heads),
            d_model=d_model,
            d_mlp=int(given.get(self.key("d_mlp")) or 4 * d_model),
            vocab=int(given["vocab_size"]),
            max_position=int(given.get(self.key("max_position")) or 2048),
            norm_eps=float(given.get(self.key("norm_eps")) or 1e-6),
            tied=bool(given.get("tie_word_embeddings", False)),
        )


def plain_block(config: Mapping[str, Any], sizes: Sizes, **more: Any) -> Block:
    """A block whose layers are all alike: full attention scaled by 1 / sqrt(d_head), one rotary table."""
    layers = sizes.n_layers
    default: dict[str, Any] = {"scale": sizes.d_head**-0.5, "windows": (None,) * layers, "rotary": (FULL,) * layers}
    activation = config.get("hidden_act")
    return Block(**{**default, "activation": FUNCTIONS.get(str(activation), "silu"), **more})


def windows_of(kinds: Iterable[str], window: int | None) -> tuple[int | None, ...]:
    """Each layer's window, from transformers' kinds of layer."""
    return tuple(window if kind == WINDOWED else None for kind in kinds)


@dataclass(frozen=True)
class Description:
    """A model as its config.json describes it."""

    family: Family
    sizes: Sizes
    block: Block

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight. A tied model has its embedding and no unembedding."""
        s, block, names = self.sizes, self.block, self.family.layout
        shapes: dict[str, tuple[int, ...]] = {f"{names.embedding}.weight": (s.vocab, s.d_model)}
        if names.positions:
            shapes[f"{names.positions}.weight"] = (s.max_position, s.d_model)
        self._add_norm(shapes, names.norm_final, s.d_model)
        if not s.tied:
            shapes[f"{names.unembedding}.weight"] = (s.vocab, s.d_model)
        q, kv = s.n_heads * s.d_head, s.n_kv_heads * s.d_head
        wide = block.qk_norm == "width"
        for i in range(s.n_layers):
            for norm in (names.norm_attn, names.norm_attn_out, names.norm_mlp, names.norm_mlp_out):
                self._add_norm(shapes, norm and names.prefixed(i, norm), s.d_model)
            self._add_norm(shapes, names.q_norm and names.prefixed(i, names.q_norm), q if wide else s.d_head)
            self._add_norm(shapes, names.k_norm and names.prefixed(i, names.k_norm), kv if wide else s.d_head)
            self._add_linear(shapes, i, names.qkv, (q, kv, kv), s.d_model, block.qkv_bias)
            self._add_linear(shapes, i, (names.out,), (s.d_model,), q, block.out_bias)
            if names.router:
                shapes[f"{names.prefixed(i, names.router)}.weight"] = (block.experts, s.d_model)
            for prefix in self.expert_prefixes():
                up, down = tuple(prefix + name for name in names.up), prefix + names.down
                parts = (s.d_mlp, s.d_mlp) if block.gated else (s.d_mlp,)
                self._add_linear(shapes, i, up, parts, s.d_model, block.mlp_bias)
                self._add_linear(shapes, i, (down,), (s.d_model,), s.d_mlp, block.mlp_bias)
        return shapes

    def expert_prefixes(self) -> list[str]:
        """What stands before the names of an MLP's weights: one prefix an expert, none without experts."""
        names = self.family.layout
        return [names.experts.format(e) for e in range(self.block.experts)] if names.experts else [""]

    def _add_norm(self, shapes: dict[str, tuple[int, ...]], name: str, size: int) -> None:
        if name:
            shapes[f"{name}.weight"] = (size,)
            if self.block.norm == "layer":
                shapes[f"{name}.bias"] = (size,)

    def _add_linear(
        self,
        shapes: dict[str, tuple[int, ...]],
        layer: int,
        names: tuple[str, ...],
        parts: tuple[int, ...],
        d_in: int,
        biased: bool,
    ) -> None:
        """A linear map of some parts, which are stored one by one or together."""
        layout = self.family.layout
        for name, d_out in zip(names, parts if len(names) == len(parts) else (sum(parts),), strict=True):
            whole = layout.prefixed(layer, name)
            shapes[f"{whole}.weight"] = (d_in, d_out) if layout.transposed else (d_out, d_in)
            if biased:
                shapes[f"{whole}.bias"] = (d_out,)

    def stored_name(self, name: str, stored: Iterable[str]) -> str | None:
        """What a weight is called in files that hold `stored`; None where they lack it.

        A tied model's embedding may be stored as its unembedding, a weight under an older name, and the body
        without its prefix.
        """
        names = self.family.layout
        have = stored if isinstance(stored, (set, frozenset, dict)) else set(stored)
        tries = [name]
        if self.sizes.tied and name == f"{names.embedding}.weight":
            tries.append(f"{names.unembedding}.weight")
        older = names.other_names.items()
        tries += [new + one.removeprefix(old) for old, new in older for one in tries if one.startswith(old)]
        tries += [one.removeprefix(names.prefix) for one in tries]
        return next((one for one in tries if one in have), None)

    def unread(self, stored: Iterable[str]) -> set[str]:
        """Stored tensors that are no weights: tables, and a tied model's second name for its embedding."""
        names = self.family.layout
        second = {f"{names.unembedding}.weight", *(f"{new}weight" for new in names.other_names.values())}
        return {n for n in stored if n.endswith(names.ignored) or (self.sizes.tied and n in second)}

    def parameters(self) -> int:
        """How many numbers the weights hold."""
        return sum(math.prod(shape) for shape in self.tensors().values())

    def memory(self) -> dict[str, int]:
        """Bytes that the weights alone take, by the dtype they are run in."""
        return {"float32": 4 * self.parameters(), "bfloat16": 2 * self.parameters()}


def size_differences(one: Description, other: Description) -> list[str]:
    """Sizes in which two models differ so that their heads cannot be exchanged ("n_heads 32 and 40").

    The vocabulary may differ (fine-tunes add padding tokens), and so may the number of positions.
    """
    pairs = [("family", one.family.name, other.family.name)]
    keys = ("n_layers", "n_heads", "n_kv_heads", "d_head", "d_model", "d_mlp")
    pairs += [(key, getattr(one.sizes, key), getattr(other.sizes, key)) for key in keys]
    return [f"{key} {mine} and {theirs}" for key, mine, theirs in pairs if mine != theirs]
