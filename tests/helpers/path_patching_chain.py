"""A random model with clean and corrupted prompts, and a chain of searches for it."""

import numpy as np
import pandas as pd
import torch

from entity_mech.engine.clean import run_clean
from entity_mech.engine.partial import NOTHING, Partial
from entity_mech.methods.path_patching import Chain, ScoredPrompts, chain_table, run_chain
from entity_mech.methods.searches import PathPatchingOptions, PathSearch
from entity_mech.task.tokens import TokenizedPrompts
from tests.helpers.random_models import decoder_from, random_llama, random_prompts

CHAIN = [
    PathSearch("a", "A", "last", (), 3, 4),
    PathSearch("b", "B", "last", (("a", "q"),), 2, 2),
    PathSearch("d", "D", "label", (("a", "k"), ("a", "v")), 0, 2),
]


def make_prompts(seed: int, n: int = 6, length: int = 12, vocab: int = 61) -> TokenizedPrompts:
    rng = np.random.default_rng(seed)
    ids, lengths = random_prompts(rng, n=n, length=length, vocab=vocab)
    return TokenizedPrompts(
        ids=ids,
        length=lengths,
        roles={"last": lengths - 1, "label": rng.integers(2, 6, n)},
        sets={},
        segment=np.full(ids.shape, -1),
        answer=rng.integers(1, vocab, n),
        choices=rng.integers(1, vocab, (n, 3)),
        query_index=np.zeros(n, int),
        scene=np.arange(n),
    )


class ChainSetting:
    """A random model with clean and corrupted prompts, and its head outputs as the store would give them."""

    def __init__(self) -> None:
        self.model = random_llama(layers=3, kv_heads=2)
        self.decoder = decoder_from(self.model)
        self.clean, self.corrupted = make_prompts(1), make_prompts(2)
        self.z = torch.stack(run_clean(self.decoder, torch.as_tensor(self.corrupted.ids), {"z"}).z, 2)

    def outputs(self, kind: str, role: str, rows: np.ndarray) -> np.ndarray:
        prompts = {"corrupted": self.corrupted, "null": self.clean}[kind]
        z = self.z if kind == "corrupted" else self.clean_z()
        return z[rows, prompts.roles[role][rows]].numpy()

    @property
    def scored(self) -> ScoredPrompts:
        """All prompts, as a chain takes them."""
        return ScoredPrompts(self.clean, lambda *key: self.outputs(*key), np.arange(len(self.clean)))

    def table(self, options: PathPatchingOptions, partial: Partial = NOTHING) -> pd.DataFrame:
        """Score tables of the whole chain."""
        found = run_chain(Chain(self.decoder, self.scored, options, partial), CHAIN)
        return chain_table(CHAIN, found, self.decoder.shape.n_heads)

    def clean_z(self):
        return torch.stack(run_clean(self.decoder, torch.as_tensor(self.clean.ids), {"z"}).z, 2)
