"""One search on a random model: by the engine, and by the literal two-pass method."""

import numpy as np
import torch

from entity_mech.engine.clean import run_clean
from entity_mech.engine.path_patching import patched_answers
from entity_mech.engine.receivers import Receivers
from entity_mech.engine.search_batch import SearchBatch
from tests.helpers.literal_path_patching import LiteralPathPatching
from tests.helpers.random_models import decoder_from, random_llama, random_prompts

N, LENGTH, VOCAB = 5, 14, 61
# (input, layer, query head); several inputs in one layer, the last layer, and a shared key/value head.
RECEIVERS = {
    "logits": None,
    "q": [("q", 1, 0), ("q", 2, 3), ("q", 3, 1)],
    "k": [("k", 1, 0), ("k", 1, 1), ("k", 3, 2)],
    "v": [("v", 1, 1), ("v", 2, 0), ("v", 3, 3)],
    "k and v": [("k", 1, 1), ("v", 1, 1), ("v", 2, 2), ("k", 2, 0)],
    "q and v": [("q", 1, 2), ("v", 1, 0), ("q", 3, 2), ("v", 3, 2)],
    "q, k and v": [("q", 1, 1), ("k", 1, 1), ("v", 1, 1), ("k", 2, 3), ("q", 2, 0), ("v", 3, 0)],
}


class Case:
    """Random prompts of different lengths with the sender at various tokens."""

    def __init__(self, shape, dtype=torch.float32, token="middle", seed=0):
        rng = np.random.default_rng(seed)
        self.model = random_llama(layers=4, vocab=VOCAB, seed=seed, **shape).to(dtype)
        self.decoder = decoder_from(self.model, dtype)
        ids, length = random_prompts(rng, n=N, length=LENGTH, vocab=VOCAB, ragged=True)
        other, _ = random_prompts(rng, n=N, length=LENGTH, vocab=VOCAB)
        self.ids, self.length, self.other = map(torch.as_tensor, (ids, length, other))
        self.answer = torch.as_tensor(rng.integers(1, VOCAB, N))
        spots = {"last": length - 1, "middle": rng.integers(4, 9, N), "first": np.zeros(N, int)}
        self.pos = torch.as_tensor(spots[token])
        self.corrupted_pos = torch.as_tensor(rng.integers(2, 9, N))
        z = run_clean(self.decoder, self.other, {"z"}).z
        rows = torch.arange(N)
        self.corrupted = torch.stack([layer[rows, self.corrupted_pos] for layer in z], 1)

    def receivers(self, heads):
        group = self.decoder.shape.group
        return None if heads is None else Receivers.of_heads(heads, group)

    def fast(self, heads, **more):
        batch = SearchBatch.of(self.decoder, self.ids, self.length, self.answer, self.pos)
        return patched_answers(self.decoder, batch, self.corrupted, self.receivers(heads), **more)[0]

    def literal(self, heads):
        oracle = LiteralPathPatching(self.model, self.ids, self.length, self.other)
        group = self.decoder.shape.group
        keys = None if heads is None else {(k, la, h if k == "q" else h // group) for k, la, h in heads}
        s = self.decoder.shape
        found = [
            oracle.probability(la, h, self.pos, self.corrupted_pos, keys, self.answer)
            for la in range(s.n_layers)
            for h in range(s.n_heads)
        ]
        return torch.stack(found)
