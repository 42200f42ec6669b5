"""95% intervals by resampling scenes.

The prompts of one scene are not independent, so whole scenes are drawn. A ratio or a difference uses the same
scenes in both terms.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95


class Interval(NamedTuple):
    """A point estimate and the ends of its interval; all NaN where it is undefined."""

    value: float
    low: float
    high: float


UNDEFINED = Interval(np.nan, np.nan, np.nan)


@lru_cache(maxsize=8)
def scene_draws(n_scenes: int, seed: int) -> np.ndarray:
    """How often each scene is drawn, [resample, scene]: the same for every quantity with this seed."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_scenes, np.full(n_scenes, 1 / n_scenes), RESAMPLES).astype(np.float64)


def resampled_sums(values: np.ndarray, scene: np.ndarray, seed: int) -> np.ndarray:
    """Sums of values over prompts: as they are (first row), then for each resample. [1 + resample, column].

    values [prompt, column]; scene [prompt], any integers.
    """
    _, index = np.unique(scene, return_inverse=True)
    by_scene = np.zeros((int(index.max()) + 1, values.shape[1]))
    np.add.at(by_scene, index, np.asarray(values, dtype=np.float64))
    draws = scene_draws(len(by_scene), seed)
    return np.vstack([by_scene.sum(0), draws @ by_scene])


def mean_interval(values: np.ndarray, scene: np.ndarray, seed: int) -> Interval:
    """Mean of values [prompt] with its interval; undefined without prompts."""
    return ratio_interval(values, np.ones(len(values)), scene, seed)


def ratio_interval(numerator: np.ndarray, denominator: np.ndarray, scene: np.ndarray, seed: int) -> Interval:
    """Ratio of two means over the same prompts [prompt]; undefined where the denominator's mean is 0.

    Resamples with a denominator of 0 are left out; where they are more than 5%, the interval is undefined.
    """
    if not len(numerator):
        return UNDEFINED
    over, under = resampled_sums(np.stack([numerator, denominator], 1), scene, seed).T
    if under[0] == 0:
        return UNDEFINED
    defined = under[1:] != 0
    value = float(over[0] / under[0])
    if defined.mean() < LEVEL:
        return Interval(value, np.nan, np.nan)
    return _interval(value, over[1:][defined] / under[1:][defined])


def difference_interval(a: np.ndarray, b: np.ndarray, scene: np.ndarray, seed: int) -> Interval:
    """Mean of a minus mean of b over the same prompts [prompt]."""
    return mean_interval(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64), scene, seed)


def _interval(value: float, resamples: np.ndarray) -> Interval:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(resamples, [tail, 1 - tail])
    return Interval(value, float(low), float(high))
