"""Whether a circuit beats random ones of its size: a binomial test."""

from __future__ import annotations

from scipy.special import betainc


def random_p(below: int, draws: int, share: float) -> float:
    """p value that a circuit beats more than a share of all random ones; NaN without draws.

    Null: a random circuit scores below this one with probability `share` at most. Alternative: more often. Statistic:
    how many of the drawn ones score strictly below; p is the chance of as many or more under the null. For a share of
    0.9, 29 draws, all of them below, are the fewest that give p < 0.05.
    """
    if not draws:
        return float("nan")
    # P(Bin(n, q) >= k) is the regularized incomplete beta function I_q(k, n - k + 1)
    return float(betainc(below, draws - below + 1, share)) if below else 1.0
