"""Intervals by resampling scenes."""

import numpy as np
import pytest

from entity_mech.methods.intervals import difference_interval, mean_interval, ratio_interval


def test_mean_of_a_constant_has_no_width():
    assert mean_interval(np.full(12, 0.25), np.arange(12) // 3, 0) == (0.25, 0.25, 0.25)


def test_scenes_are_drawn_whole():
    rng = np.random.default_rng(0)
    by_scene = rng.random(40) < 0.5
    values, scene = np.repeat(by_scene, 7), np.repeat(np.arange(40), 7)
    whole = mean_interval(values, scene, 1)
    prompts = mean_interval(values, np.arange(280), 1)
    assert whole.value == prompts.value == by_scene.mean()
    # seven copies say no more than one: the interval is sqrt(7) times as wide as with prompts drawn one by one
    assert (whole.high - whole.low) / (prompts.high - prompts.low) == pytest.approx(7**0.5, rel=0.15)
    width = 2 * 1.96 * (by_scene.mean() * (1 - by_scene.mean()) / 40) ** 0.5
    assert whole.high - whole.low == pytest.approx(width, rel=0.15)


def test_a_ratio_uses_the_same_scenes_in_both_terms():
    rng = np.random.default_rng(2)
    below = rng.random(200)
    ratio = ratio_interval(0.5 * below, below, np.arange(200), 3)
    assert ratio == pytest.approx((0.5, 0.5, 0.5))
    difference = difference_interval(below, below - 0.25, np.arange(200), 3)
    assert difference == pytest.approx((0.25, 0.25, 0.25))


def test_a_ratio_over_zero_is_undefined():
    zero, one = np.zeros(6), np.ones(6)
    assert np.isnan(ratio_interval(one, zero, np.arange(6), 0)).all()
    assert np.isnan(mean_interval(np.zeros(0), np.zeros(0, int), 0)).all()
    rare = np.array([1.0, 0, 0, 0, 0, 0])  # a third of the resamples miss the only scene where it is not 0
    value, low, high = ratio_interval(rare, rare, np.arange(6), 0)
    assert value == 1
    assert np.isnan(low)
    assert np.isnan(high)


def test_seeds_decide():
    values, scene = np.random.default_rng(4).random(50), np.arange(50)
    assert mean_interval(values, scene, 5) == mean_interval(values, scene, 5)
    assert mean_interval(values, scene, 5) != mean_interval(values, scene, 6)
