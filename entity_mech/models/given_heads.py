"""What scores and circuits that are given with a model are held to: the chain of searches, and the model's size.

They stand in for what a search or pruning would find. docs/published.md says what their files hold. Standard library
only, so that they are checked before any job runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from entity_mech.task.roles import own_name

Size = tuple[int, int]  # layers of a model, heads of a layer


class ChainGroup(NamedTuple):
    """What a file can be held to of one search of the chain."""

    name: str
    letter: str
    token: str


class GivenHead(NamedTuple):
    """A head that a file names. score: None where the file has none."""

    group: str
    layer: int
    head: int
    score: float | None = None

    @property
    def words(self) -> str:
        """For messages: `3.4 of value_fetcher`."""
        return f"{self.layer}.{self.head} of {self.group}"

    @property
    def place(self) -> tuple[str, int, int]:
        """The head without its score."""
        return self[:3]


def in_one(texts: Sequence[str]) -> list[str]:
    """One message for many of a kind: the first, and how many more there are; none for none."""
    more = f" (and {len(texts) - 1} more like it)" if len(texts) > 1 else ""
    return [texts[0] + more] if texts else []


def other_searches(names: Collection[str], chain: Sequence[ChainGroup]) -> list[str]:
    """Groups that are no search of the chain, and searches that are not among the groups."""
    wanted = [one.name for one in chain]
    unknown, missing = [name for name in names if name not in wanted], [name for name in wanted if name not in names]
    found = [f"{', '.join(unknown)} is no search of this config ({', '.join(wanted)})"] if unknown else []
    return found + ([f"nothing is said about the search {', '.join(missing)}"] if missing else [])


def other_places(said: Iterable[ChainGroup], chain: Sequence[ChainGroup]) -> list[str]:
    """Letters and tokens of searches of the chain that are not the chain's. Empty ones were not said."""
    here, found = {one.name: one for one in chain}, []
    for name, letter, token in said:
        if token and own_name(token) != own_name(here[name].token):
            found.append(f"{name} sits at the token {token!r}, in this config at {here[name].token!r}")
        if letter and letter != here[name].letter:
            found.append(f"{name} has the letter {letter}, in this config {here[name].letter}")
    return found


def repeated(heads: Iterable[GivenHead]) -> list[str]:
    """Heads that stand in one group twice."""
    counts = Counter(one.place for one in heads)
    return in_one([f"head {GivenHead(*place).words} stands there twice" for place, n in counts.items() if n > 1])


def outside(heads: Iterable[GivenHead], size: Size | None) -> list[str]:
    """Heads that a model of this size has not; None: its size is not known yet."""
    if size is None:
        return []
    beyond = [one for one in heads if one.layer >= size[0] or one.head >= size[1]]
    has = f"the model has {size[0]} layers of {size[1]} heads, counted from 0"
    return in_one([f"there is no head {one.words}: {has}" for one in beyond])
