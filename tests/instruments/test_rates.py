"""The exact interval of a rate is the published one, and holds the true rate at least as often as it says."""

import numpy as np
import pytest
from scipy.stats import binom

from p2d_lib.instruments.rates import exact_interval


def test_intervals_of_rates_are_those_that_are_published():
    assert exact_interval(0, 10) == pytest.approx((0, 0.3085), abs=1e-4)  # 1 - 0.025 ** (1 / 10)
    assert exact_interval(10, 10) == pytest.approx((0.6915, 1), abs=1e-4)
    assert exact_interval(81, 263) == pytest.approx((0.2527, 0.3676), abs=1e-4)  # Newcombe, Stat Med 17, 1998
    assert np.isnan(exact_interval(0, 0)).all()


@pytest.mark.parametrize("n", [5, 40])
def test_intervals_of_rates_hold_a_planted_rate_in_95_of_100_samples_at_least_whatever_it_is(n):
    low, high = np.transpose([exact_interval(k, n) for k in range(n + 1)])
    for rate in np.linspace(0.01, 0.99, 50):
        held = binom.pmf(np.arange(n + 1), n, rate)[(low <= rate) & (rate <= high)].sum()
        assert held >= 0.95, rate
