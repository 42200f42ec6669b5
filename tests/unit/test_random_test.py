"""The binomial test against random circuits."""

from math import comb

import numpy as np
import pytest

from entity_mech.methods.random_test import random_p


def test_the_p_value_is_the_binomial_tail():
    exact = sum(comb(100, k) * 0.9**k * 0.1 ** (100 - k) for k in range(96, 101))
    assert random_p(96, 100, 0.9) == pytest.approx(exact)
    assert 0.02 < random_p(96, 100, 0.9) < 0.03
    assert random_p(100, 100, 0.9) == pytest.approx(0.9**100)
    assert random_p(0, 100, 0.9) == 1
    assert random_p(96, 100, 0.8) < random_p(96, 100, 0.9)
    assert np.isnan(random_p(0, 0, 0.9))


def test_29_draws_are_the_fewest_that_can_show_nine_in_ten():
    assert random_p(28, 28, 0.9) > 0.05 > random_p(29, 29, 0.9)
