"""How often 95% intervals hold the truth: answers are drawn whose scenes are alike, and counted.

A scene draws its own chances for each pattern of answers (Dirichlet around the true ones), then its prompts draw
patterns by these chances: any two prompts of a scene correlate as asked, and so do differences and gains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from entity_mech.methods.intervals import (
    Interval,
    difference_interval,
    mean_interval,
    ratio_interval,
    share_interval,
)

PROMPTS = 7  # of a scene
SCENES = (15, 70)
CORRELATIONS = (0.0, 0.2, 0.5)
RESAMPLES = 500


@dataclass(frozen=True)
class Case:
    """An estimate over patterns of answers. chances: pattern -> its true probability; estimate: of pattern means."""

    what: str
    name: str
    chances: dict[tuple[int, ...], float]
    interval: Callable[..., Interval]
    estimate: Callable[[np.ndarray], np.ndarray]


def mean_case(accuracy: float) -> Case:
    chances = {(1,): accuracy, (0,): 1 - accuracy}
    return Case("mean", f"{accuracy:g}", chances, mean_interval, lambda means: means[0])


def paired(accuracy: float, keeps: float, gains: float) -> dict[tuple[int, ...], float]:
    """Chances of (circuit, model): the circuit keeps a share of the model's right answers, mends some wrong ones."""
    return {
        (1, 1): accuracy * keeps,
        (0, 1): accuracy * (1 - keeps),
        (1, 0): (1 - accuracy) * gains,
        (0, 0): (1 - accuracy) * (1 - gains),
    }


def gained(base: float, tuned: float, share: float) -> dict[tuple[int, ...], float]:
    """Chances of (patched, base, tuned): of the answers that tuning mends, patching mends a share; 3% are noise."""
    mends, found = (tuned - base) / (1 - base), {}
    for b, t in ((0, 0), (0, 1), (1, 0), (1, 1)):
        chance = (base if b else 1 - base) * (float(t) if b else (mends if t else 1 - mends))
        right = 0.97 if b else share if t else 0.03
        found.update({(1, b, t): chance * right, (0, b, t): chance * (1 - right)})
    return found


def cases() -> list[Case]:
    found = [mean_case(accuracy) for accuracy in (0, 0.05, 0.5, 0.95, 1)]
    for accuracy in (0, 0.05, 0.5, 0.95, 1):
        for keeps, gains in ((1.0, 0.0), (0.9, 0.05), (0.5, 0.2)):
            name, chances = f"{accuracy:g}, keeps {keeps:g}, gains {gains:g}", paired(accuracy, keeps, gains)
            found.append(Case("difference", name, chances, difference_interval, lambda m: m[0] - m[1]))
            if accuracy:
                found.append(Case("ratio", name, chances, ratio_interval, lambda m: m[0] / m[1]))
    for base, tuned in ((0.0, 0.5), (0.05, 0.5), (0.3, 0.8), (0.5, 0.6), (0.5, 0.95), (0.5, 1.0)):
        for share in (0.0, 0.5, 1.0):
            name, chances = f"{base:g} to {tuned:g}, share {share:g}", gained(base, tuned, share)
            over = share_interval
            found.append(Case("share of a gain", name, chances, over, lambda m: (m[0] - m[1]) / (m[2] - m[1])))
    return found


def draw(case: Case, n_scenes: int, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Answers [kind, scene, prompt]."""
    there = [(pattern, chance) for pattern, chance in case.chances.items() if chance > 0]
    patterns, chances = np.array([p for p, _ in there]), np.array([c for _, c in there])
    by_scene = np.tile(chances, (n_scenes, 1))
    if correlation:
        by_scene = rng.dirichlet(chances * (1 - correlation) / correlation, n_scenes)
    drawn = (rng.random((n_scenes, PROMPTS, 1)) > by_scene.cumsum(1)[:, None]).sum(-1)
    return patterns[np.minimum(drawn, len(there) - 1)].transpose(2, 0, 1)


def bootstrap(case: Case, answers: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The percentile interval over resampled scenes, to compare with."""
    n_scenes = answers.shape[1]
    weights = rng.multinomial(n_scenes, np.full(n_scenes, 1 / n_scenes), RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = case.estimate(answers.mean(2) @ weights.T / n_scenes)
    values = values[np.isfinite(values)]
    return tuple(np.quantile(values, (0.025, 0.975))) if len(values) else (np.nan, np.nan)


def measure_case(case: Case, n_scenes: int, correlation: float, draws: int) -> dict[str, object]:
    """Coverage of both intervals; one without bounds excludes nothing, so it holds the truth."""
    rng = np.random.default_rng([n_scenes, round(100 * correlation)])
    scene = np.repeat(np.arange(n_scenes), PROMPTS)
    true = float(case.estimate(sum(np.array(p, float) * c for p, c in case.chances.items())))
    ends, old = [], []
    for _ in range(draws):
        answers = draw(case, n_scenes, correlation, rng)
        found = case.interval(*answers.reshape(len(answers), -1), scene)
        ends.append(found[1:])
        old.append(bootstrap(case, answers, rng))
    low, high = np.array(ends).T
    below, above = np.array(old).T
    known = ~np.isnan(low)
    return {
        "what": case.what,
        "case": case.name,
        "scenes": n_scenes,
        "correlation": correlation,
        "coverage": float((~known | ((low <= true + 1e-9) & (true - 1e-9 <= high))).mean()),
        "width": float(np.median((high - low)[known])) if known.any() else np.nan,
        "unbounded": float(1 - known.mean()),
        "bootstrap": float(((below <= true + 1e-9) & (true - 1e-9 <= above)).mean()),
        "draws": draws,
    }


def measure_coverage(draws: int) -> pd.DataFrame:
    """Every case at every number of scenes and correlation."""
    return pd.DataFrame(
        [
            measure_case(case, n_scenes, correlation, draws)
            for case in cases()
            for n_scenes in SCENES
            for correlation in CORRELATIONS
        ]
    )


def coverage_summary(table: pd.DataFrame) -> pd.DataFrame:
    """The table by what is estimated, scenes and correlation: lowest and highest coverage, and the bootstrap's."""
    groups = table.groupby(["what", "scenes", "correlation"], sort=False)
    return groups.agg(
        cases=("case", "size"),
        lowest=("coverage", "min"),
        median=("coverage", "median"),
        highest=("coverage", "max"),
        bootstrap_lowest=("bootstrap", "min"),
        bootstrap_median=("bootstrap", "median"),
    ).reset_index()
