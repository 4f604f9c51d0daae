"""The limit lets as many new values of the control's kind through as it says, and shows what lies beyond them."""

import numpy as np
import pytest

from p2d_lib.instruments.conformal import upper_limit


@pytest.mark.parametrize("law", [np.random.Generator.standard_normal, np.random.Generator.standard_cauchy])
def test_new_values_exceed_it_at_its_rate_and_values_from_elsewhere_far_more_often(law):
    rng = np.random.default_rng(0)
    limits = [upper_limit(law(rng, 59), 0.05) for _ in range(4000)]
    values, chances = np.transpose(limits)
    assert chances.tolist() == [0.05] * 4000
    assert (law(rng, 4000) > values).mean() == pytest.approx(0.05, abs=0.01)  # 0.0034 is its standard error
    assert (law(rng, 4000) + 10 > values).mean() > 0.6


def test_too_few_values_give_the_largest_one_with_the_rate_that_it_has():
    assert upper_limit(np.array([3.0, 5.0, 4.0]), 0.05) == (5.0, 0.25)
    assert upper_limit(np.arange(19.0), 0.05) == (18.0, 0.05)
    assert upper_limit(np.array([]), 0.05) == (np.inf, 0.0)
