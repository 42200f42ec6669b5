"""Model shapes, prompts and receivers that the benchmarks share."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from entity_mech.engine.receivers import Receivers
from tests.helpers.family_models import family_model
from tests.helpers.literal_path_patching import AnyFamilyPathPatching, LiteralPathPatching
from tests.helpers.random_models import decoder_from, random_llama

N_POS = 54
LABELS = (6, 13, 20, 27, 34, 41, 48)  # token positions of the seven labels, after a BOS


@dataclass(frozen=True)
class Shape:
    layers: int
    heads: int
    kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    vocab: int


SHAPES = {
    "6x8x256": Shape(6, 8, 8, 256, 32, 688, 2048),
    "12x12x768": Shape(12, 12, 12, 768, 64, 2048, 2048),
    "135M": Shape(30, 9, 3, 576, 64, 1536, 49152),
}

# Where the paper's receivers sit, as shares of the layers, and how many there are.
DEPTHS = {"A": (0.45, 0.9, 20), "B": (0.35, 0.6, 5), "C": (0.05, 0.45, 10)}
# group -> its receivers: the group and the input; A writes to the logits.
CHAIN = {"A": None, "B": ("A", "q"), "C": ("B", "v"), "D": ("C", "v")}


class Setting:
    """Random weights in a shape, box-like prompts, and receivers at the paper's relative depths.

    variant: of another family than Llama (`tests/helpers/family_models.py`); its oracle edits eager attention.
    """

    def __init__(
        self, shape: Shape, n_prompts: int, seed: int = 0, n_pos: int = N_POS, variant: str | None = None
    ) -> None:
        self.shape = shape
        self.oracle = LiteralPathPatching if variant is None else AnyFamilyPathPatching
        self.model = self._llama(seed) if variant is None else self._of_family(variant, seed)
        self.decoder = decoder_from(self.model)
        rng = np.random.default_rng(seed)
        self.ids = torch.as_tensor(rng.integers(1, shape.vocab, (n_prompts, n_pos)))
        self.other = torch.as_tensor(rng.integers(1, shape.vocab, (n_prompts, n_pos)))
        self.length = torch.full((n_prompts,), n_pos)
        self.answer = torch.as_tensor(rng.integers(1, shape.vocab, n_prompts))
        labels = range(LABELS[0], n_pos - 4, 7)
        self.label = torch.tensor([labels[i % len(labels)] for i in range(n_prompts)])
        self.groups = {name: self._heads(rng, *depth) for name, depth in DEPTHS.items()}

    def _llama(self, seed: int) -> PreTrainedModel:
        s = self.shape
        sizes = {"layers": s.layers, "heads": s.heads, "kv_heads": s.kv_heads, "d_model": s.d_model}
        return random_llama(**sizes, d_head=s.d_head, d_mlp=s.d_mlp, vocab=s.vocab, spread=0.04, seed=seed)

    def _of_family(self, variant: str, seed: int) -> PreTrainedModel:
        s = self.shape
        more = {"num_hidden_layers": s.layers, "num_attention_heads": s.heads, "hidden_size": s.d_model}
        more |= {"intermediate_size": s.d_mlp, "vocab_size": s.vocab, "layer_types": None, "initializer_range": 0.04}
        return family_model(variant, seed, **more, num_key_value_heads=s.kv_heads)

    def _heads(self, rng: np.random.Generator, low: float, high: float, n: int) -> list[tuple[int, int]]:
        first, stop = int(low * self.shape.layers), max(int(high * self.shape.layers), 1)
        room = [(la, h) for la in range(first, stop) for h in range(self.shape.heads)]
        return sorted(room[i] for i in rng.choice(len(room), min(n, len(room)), replace=False))

    def token(self, group: str) -> torch.Tensor:
        """Token of a group's heads: last, last, query label, label."""
        return {"A": self.length - 1, "B": self.length - 1, "C": self.length - 3, "D": self.label}[group]

    def receiver_heads(self, group: str) -> list[tuple[str, int, int]] | None:
        """(input, layer, query head) that a search patches into; None for the logits."""
        source = CHAIN[group]
        return None if source is None else [(source[1], la, h) for la, h in self.groups[source[0]]]

    def receivers(self, group: str) -> Receivers | None:
        heads = self.receiver_heads(group)
        return None if heads is None else Receivers.of_heads(heads, self.decoder.shape.group)
