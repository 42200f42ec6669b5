"""What writes a segment's number is pruned with means by position and kept with means by role, as planted."""

from dataclasses import replace

import pytest

from entity_mech.methods.circuits import Circuit
from entity_mech.methods.pruning import PruningOptions, prune_circuit
from tests.helpers.planted_sides import circuit, decoder, means, prompts

PLAIN = ("ordinal", "object", "weak", "repaired_q", "repaired_v", "repaired_o")
CHAIN = ("last", "query_label", "label")
# Heads that do no one's work, in the layers of the groups.
DISTRACTORS = {"A": ((4, 4), (5, 2)), "B": ((3, 1), (2, 4)), "C": ((2, 1), (1, 0)), "D": ((1, 0), (0, 5))}


def candidates(name: str) -> Circuit:
    """The planted heads, and as many others behind them."""
    groups = []
    for group in circuit(name).groups:
        others = DISTRACTORS[group.letter]
        scores = (*(-0.5 for _ in group.heads), *(-1e-5 for _ in others))
        groups.append(replace(group, heads=(*group.heads, *others), scores=scores))
    return Circuit(name, tuple(groups))


def pruned(name: str, by_role: tuple[str, ...]) -> dict[str, set[tuple[int, int]]]:
    """The heads that are kept, by letter."""
    given, found = prompts("pruning", 70), means(name, 140, by_role)
    kept = prune_circuit(decoder(name), given, found, candidates(name), PruningOptions()).circuit
    return {group.letter: set(group.heads) for group in kept.groups}


@pytest.mark.parametrize("name", PLAIN)
def test_all_that_was_planted_and_nothing_else_is_kept_by_role(name):
    assert pruned(name, CHAIN) == {group.letter: set(group.heads) for group in circuit(name).groups}


def test_a_writer_of_ordinals_is_pruned_by_position():
    """In a fixed layout its output does not vary, so that its mean is as good as itself."""
    kept = pruned("ordinal", ())
    assert kept.pop("D") == set()
    assert kept == {group.letter: set(group.heads) for group in circuit("ordinal").groups if group.letter != "D"}
