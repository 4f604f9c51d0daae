"""The Inception Score: its two ends, its closed form between them, and what it cannot see."""

import numpy as np
import pytest
from scipy import stats

from p2d_lib.instruments.inception_score import inception_score


def test_sure_answers_of_k_equally_frequent_classes_score_k_and_one_class_scores_one():
    assert inception_score(np.eye(7)[np.arange(70) % 7]) == pytest.approx(7)
    assert inception_score(np.eye(7)[np.zeros(70, int)]) == pytest.approx(1)
    assert inception_score(np.full((70, 7), 1 / 7)) == pytest.approx(1)  # noise: nothing is recognised


def test_the_score_is_the_exponential_of_the_mean_divergence_from_the_marginal():
    p = np.random.default_rng(0).dirichlet(np.full(5, 0.3), size=40)
    divergences = [stats.entropy(row, p.mean(axis=0)) for row in p]
    assert inception_score(p) == pytest.approx(np.exp(np.mean(divergences)), rel=1e-9)


def test_dropped_classes_and_less_sure_answers_lower_the_score():
    labels = np.arange(84)
    dropped = [inception_score(np.eye(7)[labels % kept]) for kept in (7, 4, 2, 1)]
    unsure = [inception_score((1 - dose) * np.eye(7)[labels % 7] + dose / 7) for dose in (0, 0.3, 0.6, 0.9)]
    assert dropped == pytest.approx([7, 4, 2, 1]) and unsure == sorted(unsure, reverse=True)
    assert unsure[-1] < 1.2


def test_a_set_cannot_score_above_its_size():
    p = np.eye(50)[np.arange(100) % 50]
    assert inception_score(p) == pytest.approx(50) and inception_score(p[:10]) == pytest.approx(10)


def test_what_is_no_probability_is_refused():
    for rows in (np.ones((4, 3)), np.array([[1.5, -0.5]]), np.array([[np.nan, 1.0]]), np.ones(3)):
        with pytest.raises(ValueError, match="one row of class probabilities an image"):
            inception_score(rows)
