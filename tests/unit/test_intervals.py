"""Intervals over scenes: hand-worked ones, and how often they hold the truth."""

from math import isnan

import numpy as np
import pytest

from entity_mech.methods.intervals import (
    difference_interval,
    difference_p,
    effective_size,
    mean_interval,
    ratio_interval,
    relative_difference,
    relative_difference_p,
    share_interval,
)

SEVENS = np.repeat(np.arange(15), 7)


def test_independent_prompts_get_clopper_and_pearsons_interval():
    # 3 of 10: the textbook's exact interval
    found = mean_interval(np.array([1] * 3 + [0] * 7), np.arange(10))
    assert found == pytest.approx((0.3, 0.0667, 0.6525), abs=1e-4)


def test_copies_of_a_scene_say_no_more_than_one_prompt():
    once = np.arange(40) % 2
    assert mean_interval(np.repeat(once, 7), np.repeat(np.arange(40), 7)).low == pytest.approx(
        mean_interval(once, np.arange(40)).low, rel=0.02
    )
    # design effect 7 * (40 / 39) / (280 / 279), and the t quantiles of 279 and 39 degrees of freedom
    found = effective_size(np.repeat(once - 0.5, 7), np.repeat(np.arange(40), 7))
    assert found.size == pytest.approx(280 / (7 * 40 / 39 * 279 / 280) * (1.96850 / 2.02269) ** 2, rel=1e-4)
    assert effective_size(once - 0.5, np.arange(40)).size == pytest.approx(40)


def test_few_scenes_that_carry_the_variance_say_less():
    spread, rare = np.zeros(105), np.zeros(105)
    spread[::7] = 1
    rare[:7] = 1
    sizes = [effective_size(values - values.mean(), SEVENS).size for values in (spread, rare)]
    assert sizes[1] < sizes[0] / 5


@pytest.mark.parametrize("right", [0, 1])
def test_intervals_do_not_collapse(right):
    same = np.full(105, right)
    mean, equal = mean_interval(same, SEVENS), difference_interval(same, same, SEVENS)
    assert mean.value == right
    assert mean.high - mean.low > 0.1
    assert equal.low < -0.05 < 0.05 < equal.high
    assert equal.low == pytest.approx(-equal.high)
    if right:
        ratio = ratio_interval(same, same, SEVENS)
        assert ratio.low < 0.95 < 1.05 < ratio.high


def test_more_scenes_tell_more():
    same = np.ones(490)
    wide, narrow = mean_interval(same[:105], SEVENS), mean_interval(same, np.repeat(np.arange(70), 7))
    assert wide.low < narrow.low < 1 == narrow.high


def test_differences_are_paired():
    a = np.arange(105) % 2
    b = a.copy()
    b[::21] = 0
    paired, shuffled = difference_interval(a, b, SEVENS), difference_interval(a, np.roll(b, 1), SEVENS)
    assert paired.value == pytest.approx(a.mean() - b.mean())
    assert paired.high - paired.low < 0.6 * (shuffled.high - shuffled.low)


def test_a_difference_by_hand():
    # 20 prompts of 20 scenes count as 20 * 19 / 21; 8 are right only in a and 2 only in b. Of the 4 added prompts
    # half are unequal
    a, b = np.array([1] * 8 + [0] * 2 + [1] * 10), np.array([0] * 8 + [1] * 2 + [1] * 10)
    sample = effective_size(a - b - 0.3, np.arange(20))
    assert sample.size == pytest.approx(20)
    assert sample.quantile == pytest.approx(2.093, abs=1e-3)
    told = 20 * 19 / 21
    size = told + 4
    mean, square = 0.3 * told / size, (0.5 * told + 2) / size
    half = 2.093 * ((square - mean**2) / size) ** 0.5
    found = difference_interval(a, b, np.arange(20))
    assert found == pytest.approx((0.3, mean - half, mean + half), abs=1e-3)


def test_a_ratio_is_where_the_difference_from_it_is_not_shown():
    rng = np.random.default_rng(3)
    model = rng.random(490) < 0.7
    circuit = model & (rng.random(490) < 0.8)
    scene = np.arange(490)
    found = ratio_interval(circuit, model, scene)
    sample = effective_size(circuit - found.value * model, scene)

    def z(theta):
        """How many standard errors circuit - theta * model lies from 0, with four prompts over the four patterns."""
        patterns = np.array([(c, m) for c in (0, 1) for m in (0, 1)])
        values = np.concatenate([circuit - theta * model, patterns @ (1, -theta)])
        weight = np.concatenate([np.full(490, sample.size / 490 * 489 / 491), np.ones(4)])
        mean = np.average(values, weights=weight)
        return mean / (np.average((values - mean) ** 2, weights=weight) / weight.sum()) ** 0.5

    assert z(found.low) == pytest.approx(sample.quantile, abs=1e-6)
    assert z(found.high) == pytest.approx(-sample.quantile, abs=1e-6)
    assert found.value == pytest.approx(circuit.sum() / model.sum())


def test_a_share_of_a_gain_has_the_gains_own_uncertainty():
    base, scene = np.arange(490) % 10 < 3, np.repeat(np.arange(70), 7)
    whole = np.arange(490) % 10 < 8
    part = base | (whole & (np.arange(490) % 4 < 2))
    found = share_interval(part, base, whole, scene)
    gain = whole.mean() - base.mean()
    assert found.value == pytest.approx((part.mean() - base.mean()) / gain)
    assert found.low < found.value < found.high
    swapped = share_interval(part, whole, base, scene)  # the share of the way back is the rest
    assert swapped == pytest.approx((1 - found.value, 1 - found.high, 1 - found.low))
    rare = whole.copy()
    rare[5:] = base[5:]  # a gain of a few prompts cannot be told from none
    assert isnan(share_interval(part, base, rare, scene).low)


def test_undefined_and_unbounded():
    zero, one = np.zeros(14), np.ones(14)
    scene = np.arange(14) // 7
    assert np.isnan(ratio_interval(one, zero, scene)).all()
    assert np.isnan(share_interval(one, zero, zero, scene)).all()
    assert np.isnan(mean_interval(np.zeros(0), np.zeros(0, int))).all()
    assert mean_interval(one, np.zeros(14, int))[0] == 1
    assert np.isnan(mean_interval(one, np.zeros(14, int))[1:]).all()  # one scene says nothing about others
    rare = np.array([1.0] + [0] * 104)
    value, low, high = ratio_interval(rare, rare, SEVENS)
    assert value == 1
    assert isnan(low)
    assert isnan(high)


def test_other_values_get_a_t_interval():
    values = np.random.default_rng(4).random(105) * 0.5
    found = mean_interval(values, np.arange(105))
    assert found.high - found.low == pytest.approx(2 * 1.98 * values.std(ddof=1) / 105**0.5, rel=0.01)
    assert mean_interval(np.full(12, 0.25), np.arange(12) // 3) == (0.25, 0.25, 0.25)
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval(np.array([0.0, 2.0]), np.arange(2))
    with pytest.raises(ValueError, match="right or wrong"):
        difference_interval(values, values, np.arange(105))


# Pattern of answers -> chance, the interval, the true value. At these the bootstrap over scenes holds the truth in .6
# to .9 of the draws.
CASES = {
    "mean .05": ({(1,): 0.05, (0,): 0.95}, mean_interval, 0.05),
    "mean .95": ({(1,): 0.95, (0,): 0.05}, mean_interval, 0.95),
    "mean .5": ({(1,): 0.5, (0,): 0.5}, mean_interval, 0.5),
    "difference": ({(1, 1): 0.9, (0, 1): 0.05, (0, 0): 0.05}, difference_interval, -0.05),
    "ratio": ({(1, 1): 0.45, (0, 1): 0.05, (1, 0): 0.025, (0, 0): 0.475}, ratio_interval, 0.95),
    "share": ({(0, 0, 0): 0.2, (1, 0, 1): 0.2, (0, 0, 1): 0.2, (1, 1, 1): 0.4}, share_interval, 0.5),
}


@pytest.mark.parametrize("n_scenes", [15, 70])
@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_truth(name, correlation, n_scenes):
    chances, interval, true = CASES[name]
    patterns, each = np.array(list(chances)), np.array(list(chances.values()))
    rng = np.random.default_rng(0)
    scene, held, draws = np.repeat(np.arange(n_scenes), 7), 0, 1000
    for _ in range(draws):
        own = rng.dirichlet(each * (1 / correlation - 1), n_scenes) if correlation else np.tile(each, (n_scenes, 1))
        pattern = (rng.random((n_scenes, 7, 1)) > own.cumsum(1)[:, None]).sum(-1).clip(max=len(each) - 1)
        _, low, high = interval(*patterns[pattern.ravel()].T, scene)
        held += not (low > true or high < true)
    # 1000 draws of a coverage of .945 fall below .925 once in 300 times; the draws are always the same
    assert held / draws >= 0.925
    if name == "mean .5":
        assert held / draws <= 0.99


def test_p_values_and_intervals_never_disagree():
    rng = np.random.default_rng(5)
    scene = np.repeat(np.arange(30), 7)
    seen = set()
    for _ in range(40):
        whole = rng.random(210) < 0.8
        a, b = whole & (rng.random(210) < 0.95), whole & (rng.random(210) < rng.uniform(0.8, 0.95))
        for null, found, p in (
            (0.0, difference_interval(a, b, scene), difference_p(a, b, scene)),
            (0.05, difference_interval(a, b, scene), difference_p(a, b, scene, 0.05)),
            (0.1, relative_difference(a, b, whole, scene), relative_difference_p(a, b, whole, scene, 0.1)),
        ):
            assert (p < 0.05) == (found.low > null or found.high < null)
            seen.add(p < 0.05)
    assert seen == {True, False}
    same = rng.random(210) < 0.5
    assert difference_p(same, same, scene) == 1
    assert difference_p(np.ones(210), np.zeros(210), scene) < 0.01
    assert np.isnan(relative_difference_p(same, same, np.zeros(210), scene, 0.1))


def test_a_relative_difference_is_over_the_whole():
    whole = np.arange(140) % 10 < 8
    a, b = whole & (np.arange(140) % 10 < 7), whole & (np.arange(140) % 10 < 5)
    found = relative_difference(a, b, whole, np.arange(140) // 7)
    assert found.value == pytest.approx(0.2 / 0.8)
    assert found.low < 0.25 < found.high
    at_low = relative_difference_p(a, b, whole, np.arange(140) // 7, found.low)
    assert at_low == pytest.approx(0.05, rel=0.01)


def test_p_values_of_true_nulls_are_seldom_small():
    rng, scene, small = np.random.default_rng(6), np.repeat(np.arange(15), 7), 0
    for _ in range(300):
        level = rng.beta(3, 2, 15)[scene]
        small += difference_p(rng.random(105) < level, rng.random(105) < level, scene) < 0.05
    assert small <= 0.075 * 300


def test_p_values_are_there_for_a_handful_of_scenes():
    """At a p value near 1 the interval's level is next to nothing, where quantiles vanish."""
    scene = np.repeat(np.arange(5), 7)
    right = np.arange(35) % 3 > 0
    assert difference_p(right, right, scene) == 1.0
    assert 0.5 < difference_p(right, np.roll(right, 1), scene) <= 1.0
