"""Measures of a ranking are scikit-learn's on the repeated rows, ties and empty sides included."""

import numpy as np
import pytest
from sklearn import metrics

from p2d_lib.instruments import ranking


def _rows(levels, n=60, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random(n) < 0.4, rng.integers(0, levels, n) / levels, rng.integers(0, 4, (10, n))


def _ranks(positive, score, weights):
    return ranking.ranks(ranking.order(positive, score), np.asarray(weights, float).T.copy())


@pytest.mark.parametrize("levels", [3, 6, 10**6])
def test_they_are_those_of_the_repeated_rows(levels):
    positive, score, weights = _rows(levels)
    ranks = _ranks(positive, score, weights)
    repeated = [(np.repeat(positive, times), np.repeat(score, times)) for times in weights]
    np.testing.assert_allclose(ranking.auc(ranks), [metrics.roc_auc_score(*one) for one in repeated])
    precision = [metrics.average_precision_score(*one) for one in repeated]
    np.testing.assert_allclose(ranking.average_precision(ranks), precision)
    for specificity in (0.5, 0.8, 0.95):
        curves = [metrics.roc_curve(*one, drop_intermediate=False) for one in repeated]
        expected = [caught[alarms <= 1 - specificity + 1e-9].max() for alarms, caught, _ in curves]
        np.testing.assert_allclose(ranking.sensitivity_at(ranks, specificity), expected)


def test_a_perfect_score_is_one_its_reverse_zero_and_a_constant_one_chance():
    positive, weights = np.repeat([True, False], [25, 75]), np.ones((1, 100))
    for score, area, precision, sensitivity in ((positive, 1, 1, 1), (np.zeros(100), 0.5, 0.25, 0)):
        ranks = _ranks(positive, score, weights)
        measures = ranking.auc(ranks), ranking.average_precision(ranks), ranking.sensitivity_at(ranks, 0.95)
        assert [one.item() for one in measures] == [area, precision, sensitivity]
    assert ranking.auc(_ranks(positive, ~positive, weights)) == 0


def test_a_planted_sensitivity_is_recovered():
    """Scores of malignant and benign lesions that lie 2 standard deviations apart: 0.64 at a specificity of 95 %."""
    positive = np.repeat([True, False], 20000)
    score = np.random.default_rng(0).normal(2.0 * positive)
    ranks = _ranks(positive, score, np.ones((1, len(positive))))
    assert ranking.sensitivity_at(ranks, 0.95) == pytest.approx(0.639, abs=0.01)
    assert ranking.sensitivity_at(ranks, 0.80) == pytest.approx(0.877, abs=0.01)


def test_without_one_side_they_are_undefined_and_a_missing_score_is_refused():
    positive, score, weights = _rows(6)
    no_negative = _ranks(positive, score, weights * positive)
    no_positive = _ranks(positive, score, weights * ~positive)
    for ranks in (no_negative, no_positive):
        assert np.isnan(ranking.auc(ranks)).all() and np.isnan(ranking.sensitivity_at(ranks, 0.95)).all()
    assert np.isnan(ranking.average_precision(no_positive)).all()
    with pytest.raises(ValueError, match="1 of 60 scores are NaN"):
        ranking.order(positive, np.where(np.arange(60) == 7, np.nan, score))
