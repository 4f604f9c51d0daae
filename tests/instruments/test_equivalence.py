"""Equivalence is announced where a difference is shown to be small, and not where little is known."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from p2d_lib.instruments.equivalence import p_different, p_equivalent


def test_it_equals_two_one_sided_t_tests_of_statsmodels():
    values = np.random.default_rng(0).normal(0.02, 0.2, 40)
    error, df = values.std(ddof=1) / np.sqrt(40), 39
    expected = ttost_paired(values, np.zeros(40), -0.1, 0.1)[0]
    assert p_equivalent(values.mean(), error, 0.1, df) == pytest.approx(expected)
    assert p_different(values.mean(), error, df) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_a_true_difference_as_large_as_the_margin_is_called_equivalent_in_five_percent_and_none_at_all_mostly():
    rng = np.random.default_rng(1)
    at_margin, at_zero = (np.mean([p_equivalent(x, 0.05, 0.2) <= 0.05 for x in rng.normal(true, 0.05, 2000)])
                          for true in (0.2, 0.0))  # fmt: skip
    assert 0.035 <= at_margin <= 0.065 and at_zero >= 0.9


def test_little_data_shows_neither_a_difference_nor_equivalence():
    assert p_different(0.1, 0.2) > 0.05 and p_equivalent(0.1, 0.2, 0.15) > 0.05


def test_what_has_no_error_is_compared_as_it_is_and_what_is_unknown_stays_so():
    assert p_equivalent(0.0, 0.0, 0.1) == 0 and p_equivalent(0.3, 0.0, 0.1) == 1
    assert np.isnan(p_equivalent(np.nan, 0.1, 0.1)) and np.isnan(p_different(0.3, 0.0))
    assert p_different(0.0, 0.0) == 1
    with pytest.raises(ValueError, match="margin is 0; expected a difference above 0"):
        p_equivalent(0.1, 0.1, 0)
