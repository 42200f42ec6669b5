"""Sets of random heads to compare chosen ones with: as many at each token, no set twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, islice, product
from math import comb, prod

import numpy as np

from entity_mech.engine.store import Head
from entity_mech.methods.circuits import HeadIndex


def possible_sets(pools: Mapping[str, Sequence[HeadIndex]], counts: Mapping[str, int]) -> int:
    """How many sets there are with `counts[role]` heads of `pools[role]` at each role."""
    return prod(comb(len(pools[role]), count) for role, count in counts.items())


def random_sets(
    pools: Mapping[str, Sequence[HeadIndex]],
    counts: Mapping[str, int],
    draws: int,
    seed: int,
    but: frozenset[Head] = frozenset(),
) -> list[frozenset[Head]]:
    """Distinct random sets with `counts[role]` heads of `pools[role]` at each role, none of them `but`.

    Where there are no more than `draws`, all of them, in order; none where a pool is too small. A draw does not
    depend on how many come after it.
    """
    roles = [role for role, count in counts.items() if count]
    if not roles or not possible_sets(pools, counts):
        return []

    def at_roles(chosen: Sequence[Sequence[HeadIndex]]) -> frozenset[Head]:
        return frozenset((role, *head) for role, heads in zip(roles, chosen, strict=True) for head in heads)

    every = product(*(combinations(pools[role], counts[role]) for role in roles))
    if possible_sets(pools, counts) <= draws + 1:  # one of them may be `but`
        return list(islice((found for found in map(at_roles, every) if found != but), draws))
    drawn: dict[frozenset[Head], None] = {}
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        while True:
            chosen = [rng.choice(len(pools[role]), counts[role], replace=False) for role in roles]
            found = at_roles([[pools[role][i] for i in index] for role, index in zip(roles, chosen, strict=True)])
            if found != but and found not in drawn:
                drawn[found] = None
                break
    return list(drawn)
