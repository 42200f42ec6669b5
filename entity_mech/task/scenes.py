"""Scenes, and which split may draw which: splits share no scene, by construction.

A scene's content decides its share. Sources, corrupted and null prompts come from their own split's share too. The
hash depends on the words and their order alone, so a scene keeps its share when words are added or counts change.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from entity_mech.errors import UserError
from entity_mech.task.words import Words

# Never reorder: the place in this list is what a scene's hash picks.
SHARES = ("discovery", "pruning", "ablation", "evaluation", "train", "validation", "test", "patching")
_STALE_ROUNDS = 20
_DRAWN = 1 << 22  # random numbers held at once
_MOST_COUNTED = 20_000  # scenes whose shares are counted one by one


@dataclass(frozen=True)
class Scene:
    """Objects and labels of the boxes, in the order of the text."""

    objects: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Scenes:
    """Many scenes of one vocabulary. objects, labels: int64 [scene, box], places in the word lists."""

    objects: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: np.ndarray | slice) -> Scenes:
        return Scenes(self.objects[index], self.labels[index])

    def scene(self, row: int, words: Words) -> Scene:
        """One of them, as words."""
        objects, labels = self.objects[row].tolist(), self.labels[row].tolist()
        return Scene(tuple(words.objects[i] for i in objects), tuple(words.labels[i] for i in labels))


def join(parts: list[Scenes]) -> Scenes:
    """Scenes one after another."""
    return Scenes(np.concatenate([p.objects for p in parts]), np.concatenate([p.labels for p in parts]))


def hashes(scenes: Scenes, words: Words) -> np.ndarray:
    """A 64-bit hash of each scene's content, uint64 [scene]."""
    keys = (_keys("object", words.objects), _keys("label", words.labels))
    state = np.zeros(len(scenes), np.uint64)
    for box in range(scenes.objects.shape[1]):
        for key, column in zip(keys, (scenes.objects, scenes.labels), strict=True):
            state = _mix(state ^ key[column[:, box]])
    return state


def shares(scenes: Scenes, words: Words) -> np.ndarray:
    """The share that each scene belongs to: int64 [scene], a place in SHARES."""
    found: np.ndarray = hashes(scenes, words) % np.uint64(len(SHARES))
    return found.astype(np.int64)


def share_of(scene: Scene) -> str:
    """The share that a scene belongs to."""
    words = Words(objects=scene.objects, labels=scene.labels)
    order = np.arange(len(scene.objects))[None]
    return SHARES[shares(Scenes(order, order), words)[0]]


def scene_counts(words: Words, boxes: int) -> dict[str, int]:
    """How many different scenes the words make for each share; where there are very many, about how many."""
    n_objects, n_labels = (math.perm(len(some), boxes) for some in (words.objects, words.labels))
    total = n_objects * n_labels
    if total > _MOST_COUNTED:
        return dict.fromkeys(SHARES, total // len(SHARES))
    objects, labels = (
        np.array(list(permutations(range(len(some)), boxes)), np.int64).reshape(-1, boxes)
        for some in (words.objects, words.labels)
    )
    scenes = Scenes(np.repeat(objects, n_labels, axis=0), np.tile(labels, (n_objects, 1)))
    counts = np.bincount(shares(scenes, words), minlength=len(SHARES))
    return dict(zip(SHARES, counts.tolist(), strict=True))


def _keys(kind: str, words: tuple[str, ...]) -> np.ndarray:
    digests = [hashlib.sha256(f"{kind} {word}".encode()).digest()[:8] for word in words]
    return np.array([int.from_bytes(d, "little") for d in digests], np.uint64)


def _mix(x: np.ndarray) -> np.ndarray:
    """The splitmix64 step: every bit of the input changes about half of the output's."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return x


class SceneSource:
    """Draws scenes of one share, uniformly."""

    def __init__(self, words: Words, boxes: int, share: str, rng: np.random.Generator) -> None:
        words.check(boxes)
        self.words, self.boxes, self.share, self.rng = words, boxes, share, rng

    def candidates(self, n: int) -> Scenes:
        """n scenes of any share."""
        return Scenes(*(self._orders(n, size) for size in (len(self.words.objects), len(self.words.labels))))

    def _orders(self, n: int, size: int) -> np.ndarray:
        """Places in a list of `size` words, different ones for each scene's boxes, in random order: [scene, box].

        In parts, so that a long list does not fill the memory; the numbers drawn are those of one large draw.
        """
        step = max(1, _DRAWN // size)
        parts = [self.rng.random((min(step, n - start), size)) for start in range(0, n, step)]
        found = [np.argsort(part, axis=1)[:, : self.boxes] for part in parts]
        return np.concatenate(found) if found else np.empty((0, self.boxes), np.int64)

    def kept(self, scenes: Scenes) -> np.ndarray:
        """Which scenes are of this share, bool [scene]."""
        found: np.ndarray = shares(scenes, self.words) == SHARES.index(self.share)
        return found

    def draw(self, n: int) -> Scenes:
        """n scenes; the same one may come twice. Raises UserError when the share seems to be empty."""
        found: list[Scenes] = []
        have = stale = 0
        while have < n:
            some = self.candidates(max(64, (n - have) * len(SHARES)))
            some = some[self.kept(some)]
            found.append(some)
            have += len(some)
            stale = 0 if len(some) else stale + 1
            if stale == _STALE_ROUNDS:
                raise UserError(self._too_few(0, n))
        return join(found)[:n] if found else self.candidates(0)

    def draw_distinct(self, n: int) -> Scenes:
        """n different scenes. Raises UserError when the words don't make that many."""
        found = self.draw(n)
        stale = 0
        while True:
            first = np.unique(hashes(found, self.words), return_index=True)[1]
            new = found[np.sort(first)]
            if len(new) >= n:
                return new[:n]
            more = self.draw(max(64, n - len(new)))
            stale = 0 if np.setdiff1d(hashes(more, self.words), hashes(new, self.words)).size else stale + 1
            if stale == _STALE_ROUNDS:
                raise UserError(self._too_few(len(new), n))
            found = join([new, more])

    def _too_few(self, found: int, wanted: int) -> str:
        return (
            f"only {found or 'no'} scenes of {self.boxes} boxes for {self.share!r}, and {wanted} are wanted: "
            f"{len(self.words.objects)} objects and {len(self.words.labels)} labels make too few; use more words, "
            "or ask for fewer prompts"
        )
