"""Equivalence is announced where a difference is shown to be small, and not where little is known."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from p2d_lib.instruments import multi_reader_scores
from p2d_lib.instruments.equivalence import (
    area_interval,
    p_different,
    p_different_area,
    p_equivalent,
    p_equivalent_area,
    p_equivalent_shares,
)

SCALES = {  # how often real images get each grade
    "two answers": [0.5, 0.5],
    "nearly always one answer": [0.95, 0.05],
    "one answer for real images": [1.0, 0.0],
    "five grades": [0.3, 0.25, 0.2, 0.15, 0.1],
}


def _graded(rng, n, scale, area):
    """Truth and grades of n real and n synthetic images. Some synthetic ones go from the first grade to the last, as
    many as the planted area needs."""
    real = np.array(SCALES[scale])
    moved = (area - 0.5) / (1 - (real[0] + real[-1]) / 2)
    synthetic = real + moved * np.eye(len(real))[-1] - moved * np.eye(len(real))[0]
    grades = [rng.choice(len(real), n, p=p) for p in (real, synthetic)]
    return np.repeat([False, True], n), np.concatenate(grades).astype(float)


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
    three, perfect = np.repeat([False, True], 3), np.repeat([0.0, 1.0], 3)
    assert p_different_area(three, perfect) == pytest.approx(0.1), "2 of the 20 ways to call three of six synthetic"
    assert p_equivalent_area(three, perfect[::-1], 0.1) > 0.9 and p_equivalent_area(three, np.arange(6) % 2, 0.1) > 0.2
    assert p_equivalent_shares(np.ones(3, bool), np.ones(3, bool), 0.1) > 0.2


def test_what_has_no_error_or_is_unknown_shows_nothing():
    assert np.isnan([p_equivalent(x, 0.0, 0.1) for x in (0.0, 0.3)]).all()
    assert np.isnan(p_equivalent(np.nan, 0.1, 0.1)) and np.isnan(p_different(0.3, 0.0))
    assert p_different(0.0, 0.0) == 1
    for wrong in (lambda: p_equivalent(0.1, 0.1, 0), lambda: p_equivalent_shares(np.ones(3), np.ones(3), 0)):
        with pytest.raises(ValueError, match="margin is 0; expected a difference above 0"):
            wrong()


def test_one_grade_for_all_images_never_shows_that_a_reader_cannot_tell_and_a_perfect_reader_can():
    synthetic = np.repeat([False, True], 5000)
    assert np.isnan(p_equivalent_area(synthetic, np.full(10_000, 0.2), 0.1))
    assert p_different_area(synthetic, np.full(10_000, 0.2)) == 1
    twenty = np.repeat([False, True], 20)
    assert p_different_area(twenty, twenty * 1.0) < 1e-6 and p_equivalent_area(twenty, twenty * 1.0, 0.1) > 0.99
    low, high = area_interval(twenty, twenty * 1.0)
    assert 0.85 < low < 0.95 and high == 1


@pytest.mark.parametrize("n", [20, 70])
@pytest.mark.parametrize("scale", SCALES)
def test_one_readers_verdicts_keep_their_level_on_coarse_scales_with_few_images(scale, n):
    rng = np.random.default_rng(n)
    at_chance = np.mean([p_different_area(*_graded(rng, n, scale, 0.5)) <= 0.05 for _ in range(300)])
    at_margin = np.mean([p_equivalent_area(*_graded(rng, n, scale, 0.6), 0.1) <= 0.05 for _ in range(300)])
    assert at_chance <= 0.085 and at_margin <= 0.085


@pytest.mark.parametrize("n", [20, 70])
@pytest.mark.parametrize(("real", "synthetic"), [(0.7, 0.6), (0.95, 0.85), (1.0, 0.9), (0.1, 0.0)])
def test_shares_that_differ_by_the_margin_are_called_equivalent_in_five_percent(n, real, synthetic):
    rng = np.random.default_rng(n)
    shares = ((rng.random(n) < real, rng.random(n) < synthetic) for _ in range(300))
    assert np.mean([p_equivalent_shares(*both, 0.1) <= 0.05 for both in shares]) <= 0.085


def test_an_area_at_chance_and_equal_shares_are_called_equivalent_in_many_large_studies():
    rng = np.random.default_rng(0)
    areas = [p_equivalent_area(*_graded(rng, 200, "five grades", 0.5), 0.1) for _ in range(100)]
    shares = [p_equivalent_shares(rng.random(500) < 0.7, rng.random(500) < 0.7, 0.1) for _ in range(100)]
    assert np.mean(np.array(areas) <= 0.05) >= 0.7 and np.mean(np.array(shares) <= 0.05) >= 0.7


def test_the_interval_of_shares_is_newcombes_published_one():
    """56 of 70 against 48 of 80: 0.0524 to 0.3339 (Newcombe 1998, table II, example a, method 10)."""
    first, second = np.arange(70) < 56, np.arange(80) < 48
    for one, other in ((first, second), (second, first)):
        assert p_equivalent_shares(one, other, 0.3339) == pytest.approx(0.025, abs=2e-4)
        assert p_equivalent_shares(one, other, 0.0524) == pytest.approx(0.975, abs=2e-4)


def test_the_interval_of_an_area_covers_the_planted_one():
    rng = np.random.default_rng(0)
    for area in (0.5, 0.6, 0.7):
        intervals = [area_interval(*_graded(rng, 20, "five grades", area)) for _ in range(300)]
        assert np.mean([low < area < high for low, high in intervals]) >= 0.92


def test_the_error_of_an_area_is_hanley_and_mcneils():
    """At its own limits, of equal numbers of both sides: Q1 and Q2 as in Radiology 143, 1982, equation 1."""
    synthetic, rating = _graded(np.random.default_rng(1), 20, "five grades", 0.7)
    estimate = multi_reader_scores.empirical_auc(synthetic, rating)
    for limit in area_interval(synthetic, rating):
        q1, q2 = limit / (2 - limit), 2 * limit**2 / (1 + limit)
        variance = (limit * (1 - limit) + 19 * (q1 - limit**2) + 19 * (q2 - limit**2)) / 400
        assert abs(limit - estimate) == pytest.approx(1.96 * np.sqrt(variance), rel=1e-3)


def test_the_test_of_an_area_keeps_its_level_and_finds_a_planted_area():
    """Readers of 70 real and 70 synthetic images who grade their confidence from 1 to 5, ties included."""
    synthetic = np.repeat([False, True], 70)
    announced = {0.5: 0, 0.65: 0}
    for area in announced:
        shift = np.sqrt(2) * stats.norm.ppf(area)
        for trial in range(500):
            view = np.random.default_rng(trial).normal(0, 1, 140) + shift * synthetic
            announced[area] += p_different_area(synthetic, np.round(view.clip(-2, 2) * 2.5) / 10 + 0.5) <= 0.05
    assert 0.03 <= announced[0.5] / 500 <= 0.07
    assert announced[0.65] / 500 >= 0.80
    assert np.isnan(p_different_area(np.ones(5, bool), np.arange(5)))
