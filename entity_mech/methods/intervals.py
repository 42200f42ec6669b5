"""95% intervals for shares of prompts, their differences and their ratios, over scenes.

The prompts of a scene are not independent. So the prompts are counted as the number of independent ones that would
say as much (`effective_size`), and intervals for independent data are taken at that number:

- A share of right answers: Clopper and Pearson's interval at the effective size (Korn and Graubard, Survey
  Methodology 24, 1998). It has width also at 0% and 100%.
- A difference, a ratio or a share of a gain over the same prompts: Fieller's interval (Journal of the Royal
  Statistical Society B 16, 1954), after adding four prompts spread evenly over every pattern of answers, as Agresti
  and Min (Statistics in Medicine 24, 2005) add two to paired differences: with two, 15 scenes were too few. So it
  has width also where no answers differ. The effective size is multiplied by (scenes - 1) / (scenes + 1), because
  answers that differ in a few of 15 scenes seldom show how alike the scenes are.

A difference also has a p value, against any difference: the smallest alpha at which its interval of level 1 - alpha
leaves that out. So a p value below 0.05 and a 95% interval never disagree.

How often they hold the truth, simulated: docs/intervals.md, `python benchmarks --parts coverage`. Nothing is drawn at
random.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, stdtrit

LEVEL = 0.95
ADDED = 4.0  # prompts that are added to differences and ratios, spread evenly over all patterns of answers
TINY = 1e-12
LEAST_P = 1e-9  # p values are not told apart below it
LEAST_LEVEL = 1e-6  # of an interval
ROUNDING = 1e-5  # a sum of float32 shares may be so far over 1


class Interval(NamedTuple):
    """A point estimate and the ends of its interval.

    All are NaN where the estimate is undefined. The ends alone are NaN where there is no bounded interval: with fewer
    than two scenes, or where the denominator of a ratio cannot be told from 0.
    """

    value: float
    low: float
    high: float


UNDEFINED = Interval(np.nan, np.nan, np.nan)


class Sample(NamedTuple):
    """How much some prompts say: independent prompts that say as much, and the t quantile to use with them."""

    size: float
    quantile: float


def effective_size(residuals: np.ndarray, scene: np.ndarray, level: float = LEVEL) -> Sample | None:
    """How many independent prompts say as much as these, for an estimate with these residuals [prompt].

    size = n / design effect * (t_{n-1} / t_df)^2, as Korn and Graubard have it. The design effect is the variance
    between scenes over that of independent prompts, at least 1. Their df is scenes - 1; here it is smaller where few
    scenes make up most of the variance (Satterthwaite's, with the kurtosis of the scenes' sums): such a variance is
    itself badly known. Where all residuals are 0, df is what one scene alone gives. None for fewer than two scenes.
    """
    n_scenes, sums = _scene_sums(residuals, scene)
    n = len(residuals)
    if n_scenes < 2:
        return None
    independent = float((residuals**2).sum()) * n / (n - 1)
    design, carrying = 1.0, 1.0
    if independent > TINY:
        design = max(1.0, float((sums**2).sum()) * n_scenes / (n_scenes - 1) / independent)
        carrying = _carrying(sums)
    quantile = _t_quantile(float(n - 1), level)
    return Sample(n / design * (quantile / _t_quantile(_freedom(carrying, n_scenes), level)) ** 2, quantile)


def _scene_sums(values: np.ndarray, scene: np.ndarray) -> tuple[int, np.ndarray]:
    scenes, index = np.unique(scene, return_inverse=True)
    return len(scenes), np.bincount(index, values, len(scenes))


def _carrying(sums: np.ndarray) -> float:
    """Number of scenes that carry the variance: all if their sums are equally large, 1 if all but one are 0."""
    most = np.abs(sums).max()
    if most < TINY:
        return 1.0
    squares = (sums / most) ** 2
    return float(max(1.0, squares.sum() ** 2 / (squares**2).sum()))


def _freedom(carrying: float, n_scenes: int) -> float:
    """Degrees of freedom of a variance over scenes: 2 over its relative variance, at most scenes - 1."""
    spread = 1 / carrying - 1 / n_scenes
    return float(min(n_scenes - 1, 2 / spread)) if spread > TINY else float(n_scenes - 1)


def _t_quantile(freedom: float, level: float = LEVEL) -> float:
    """Two-sided; at a level of next to nothing that of a level just above it, where quantiles still have a ratio."""
    return float(stdtrit(freedom, (1 + max(level, LEAST_LEVEL)) / 2))


def mean_interval(values: np.ndarray, scene: np.ndarray) -> Interval:
    """Mean of values [prompt], which lie between 0 and 1; scene [prompt], any integers. Undefined without prompts.

    Answers that are right or wrong get Korn and Graubard's interval. Other values get a t interval from the variance
    between scenes, cut at 0 and 1; it has no width where all values are equal. Raises ValueError for a value outside.
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        return UNDEFINED
    if values.min() < -ROUNDING or values.max() > 1 + ROUNDING:
        raise ValueError("an interval for a mean needs values between 0 and 1")
    mean = float(values.mean())
    residuals = values - mean
    sample = effective_size(residuals, scene)
    if sample is None:
        return Interval(mean, np.nan, np.nan)
    if np.isin(values, (0, 1)).all():
        return Interval(mean, *_clopper_pearson(mean, sample.size))
    n_scenes, sums = _scene_sums(residuals, scene)
    error = np.sqrt(n_scenes / (n_scenes - 1) * (sums**2).sum()) / len(values)
    half = _t_quantile(_freedom(_carrying(sums), n_scenes)) * error
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half))


def _clopper_pearson(share: float, size: float) -> tuple[float, float]:
    """Exact interval of a share among `size` independent trials, which need not be whole."""
    hits, tail = share * size, (1 - LEVEL) / 2
    low = float(betaincinv(hits, size - hits + 1, tail)) if hits > TINY else 0.0
    high = float(betaincinv(hits + 1, size - hits, 1 - tail)) if size - hits > TINY else 1.0
    return low, high


def difference_interval(a: np.ndarray, b: np.ndarray, scene: np.ndarray, level: float = LEVEL) -> Interval:
    """Mean of a minus mean of b: right answers (0 or 1) to the same prompts [prompt]."""
    return _fieller(np.stack([a, b]), scene, (1, -1), None, level)


def difference_p(a: np.ndarray, b: np.ndarray, scene: np.ndarray, null: float = 0.0) -> float:
    """Two-sided p value of a difference (as `difference_interval`) against `null`."""
    return _p_value(lambda level: difference_interval(a, b, scene, level), null)


def relative_difference(
    a: np.ndarray, b: np.ndarray, whole: np.ndarray, scene: np.ndarray, level: float = LEVEL
) -> Interval:
    """(a - b) / whole of three shares of right answers (0 or 1) to the same prompts [prompt]; undefined over 0."""
    return _fieller(np.stack([a, b, whole]), scene, (1, -1, 0), (0, 0, 1), level)


def relative_difference_p(a: np.ndarray, b: np.ndarray, whole: np.ndarray, scene: np.ndarray, null: float) -> float:
    """Two-sided p value of a `relative_difference` against `null`."""
    return _p_value(lambda level: relative_difference(a, b, whole, scene, level), null)


def _p_value(interval_at: Callable[[float], Interval], null: float) -> float:
    """The smallest alpha at which the interval of level 1 - alpha leaves out `null`; NaN where there is no value."""

    def leaves_out(alpha: float) -> bool:
        found = interval_at(1 - alpha)
        return bool(null < found.low or null > found.high)

    if np.isnan(interval_at(LEVEL).value):
        return np.nan
    low, high = LEAST_P, 1.0 - LEAST_P
    if leaves_out(low):
        return low
    if not leaves_out(high):
        return 1.0
    for _ in range(30):  # in the logarithm, as small values matter most
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if leaves_out(middle) else (middle, high)
    return high


def ratio_interval(numerator: np.ndarray, denominator: np.ndarray, scene: np.ndarray) -> Interval:
    """Ratio of two shares of right answers (0 or 1) to the same prompts [prompt]; undefined over 0.

    The ends are NaN where the denominator cannot be told from 0: no ratio is excluded there, however large.
    """
    found = _fieller(np.stack([numerator, denominator]), scene, (1, 0), (0, 1))
    return Interval(found.value, float(np.maximum(found.low, 0)), found.high)


def share_interval(part: np.ndarray, base: np.ndarray, whole: np.ndarray, scene: np.ndarray) -> Interval:
    """(part - base) / (whole - base) of three shares of right answers (0 or 1) to the same prompts [prompt].

    The share of a gain, with the gain's own uncertainty in it; undefined for no gain. The ends are NaN where the gain
    cannot be told from 0.
    """
    return _fieller(np.stack([part, base, whole]), scene, (1, -1, 0), (0, -1, 1))


def _fieller(
    answers: np.ndarray,
    scene: np.ndarray,
    upper: tuple[int, ...],
    lower: tuple[int, ...] | None,
    level: float = LEVEL,
) -> Interval:
    """Interval of a ratio of two contrasts of answers [kind, prompt], or of the upper one alone.

    All theta for which the mean of upper - theta * lower lies within a t quantile's standard errors of 0, with the
    added prompts among the others.
    """
    answers = np.asarray(answers, dtype=np.float64)
    if not np.isin(answers, (0, 1)).all():
        raise ValueError("an interval for paired answers needs answers that are right or wrong, 1 or 0")
    if not answers.shape[1]:
        return UNDEFINED
    patterns = np.array(list(product((0, 1), repeat=len(answers))), dtype=np.float64).T
    observed, added = (_contrasts(given, upper, lower) for given in (answers, patterns))
    over, under = observed.mean(1)
    if abs(under) < TINY:
        return UNDEFINED
    value = float(over / under)
    sample = effective_size(observed[0] - value * observed[1], scene, level)
    if sample is None:
        return Interval(value, np.nan, np.nan)
    scenes = len(np.unique(scene))
    told = sample.size * (scenes - 1) / (scenes + 1)  # a t interval trusts the spread of few scenes too much
    size = told + ADDED
    mean = (told * observed.mean(1) + ADDED * added.mean(1)) / size
    squares = [given @ given.T / given.shape[1] for given in (observed, added)]
    moments = (told * squares[0] + ADDED * squares[1]) / size
    between = np.outer(mean, mean) - sample.quantile**2 / size * (moments - np.outer(mean, mean))
    (c, b), (_, a) = between  # theta^2 a - 2 theta b + c <= 0
    if a <= TINY:
        return Interval(value, np.nan, np.nan)
    root = np.sqrt(max(0.0, b * b - a * c))
    return Interval(value, float(min(value, (b - root) / a)), float(max(value, (b + root) / a)))


def _contrasts(answers: np.ndarray, upper: tuple[int, ...], lower: tuple[int, ...] | None) -> np.ndarray:
    """The two contrasts of answers [kind, prompt], [2, prompt]; without a lower one it is 1."""
    over = np.asarray(upper, dtype=np.float64) @ answers
    return np.stack([over, np.ones_like(over) if lower is None else np.asarray(lower, dtype=np.float64) @ answers])
