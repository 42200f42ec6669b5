"""Random sets of heads."""

import numpy as np

from entity_mech.methods.random_sets import possible_sets, random_sets

FEW = {"last": [(0, 0), (0, 1), (1, 0)], "label": [(0, 2), (1, 1)]}


def test_all_sets_where_there_are_few():
    counts = {"last": 2, "label": 1}
    assert possible_sets(FEW, counts) == 6
    found = random_sets(FEW, counts, 20, 0)
    assert len(found) == len(set(found)) == 6
    assert found == random_sets(FEW, counts, 6, 1)  # nothing is left to chance
    assert frozenset({("last", 0, 0), ("last", 1, 0), ("label", 1, 1)}) in found
    left = random_sets(FEW, counts, 20, 0, but=found[2])
    assert left == [*found[:2], *found[3:]]


def test_none_where_a_pool_is_too_small():
    assert random_sets(FEW, {"last": 4, "label": 1}, 20, 0) == []
    assert random_sets(FEW, {"last": 0, "label": 0}, 20, 0) == []
    assert len(random_sets(FEW, {"last": 3, "label": 0}, 20, 0)) == 1


def test_draws_differ_and_do_not_depend_on_how_many_follow():
    pools = {"last": [(layer, head) for layer in range(4) for head in range(3)]}
    found = random_sets(pools, {"last": 2}, 60, 5)  # of 66
    assert len(set(found)) == 60
    assert all(len(heads) == 2 for heads in found)
    assert random_sets(pools, {"last": 2}, 10, 5) == found[:10]
    assert random_sets(pools, {"last": 2}, 10, 6) != found[:10]
    assert found[3] not in random_sets(pools, {"last": 2}, 60, 5, but=found[3])
    seen = np.zeros((4, 3))
    for heads in random_sets(pools, {"last": 2}, 40, 1):
        for _, layer, head in heads:
            seen[layer, head] += 1
    assert seen.min() > 0
