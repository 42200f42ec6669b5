"""One random stream per purpose, all derived from the config's seed."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_for(seed: int, *names: str) -> int:
    """A seed below 2**63 for a purpose: the same on every machine, unrelated to those of other purposes."""
    text = "\x1f".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def generator(seed: int, *names: str) -> np.random.Generator:
    """numpy's default generator for a purpose."""
    return np.random.default_rng(seed_for(seed, *names))
