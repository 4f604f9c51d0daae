"""The classifier test: 0.5 and its level on one law, the area of a planted difference of whatever kind."""

import numpy as np
import pytest
from scipy import stats

from p2d_lib.instruments import two_sample


def sets(seed, n=100, d=8, shift=0.0, spread=1.0):
    rng = np.random.default_rng(seed)
    real, synthetic = rng.normal(size=(n, d)), rng.normal(size=(n, d)) * spread
    synthetic[:, 0] += shift
    return real, synthetic


def test_two_sets_of_one_law_have_half_and_are_told_apart_at_the_nominal_rate():
    tested = [two_sample.auc_test(*sets(seed, n=40), 99, seed) for seed in range(400)]
    assert np.mean([test.observed for test in tested]) == pytest.approx(0.5, abs=0.01)
    assert 0.03 <= np.mean([test.p <= 0.05 for test in tested]) <= 0.07


def test_a_planted_shift_has_nearly_the_area_of_the_best_possible_classifier():
    for shift in (1.0, 2.0):
        best = stats.norm.cdf(shift / np.sqrt(2))
        areas = [two_sample.auc(*sets(seed, 200, shift=shift)) for seed in range(10)]
        assert best - 0.06 < np.mean(areas) < best + 0.01
        assert two_sample.auc_test(*sets(0, 200, shift=shift)).p == pytest.approx(1 / 1000)


def test_equal_means_do_not_hide_less_variety_than_there_is():
    areas = [two_sample.auc(*sets(seed, spread=0.5)) for seed in range(10)]
    assert np.mean(areas) > 0.85


def test_one_flat_colour_is_separated_from_any_set():
    real, _ = sets(0)
    assert two_sample.auc(real, np.full_like(real, 0.1)) > 0.95
    assert two_sample.auc(np.full_like(real, 0.1), np.full_like(real, 0.1)) == 0.5


def test_the_area_is_that_of_scikit_learns_kernel_ridge_on_the_same_folds():
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.metrics import roc_auc_score

    from p2d_lib.instruments.distances import cubic_kernel

    real, synthetic = sets(3, n=30, shift=0.7)
    pooled = np.vstack([real, synthetic])
    pooled = (pooled - pooled.mean(0)) / pooled.std(0)
    labels, fold = np.repeat([-1.0, 1.0], 30), np.tile(np.arange(30) % two_sample.FOLDS, 2)
    kernel, predicted = cubic_kernel(pooled, pooled), np.zeros(60)
    for held in range(two_sample.FOLDS):
        train = fold != held
        within = kernel[np.ix_(train, train)]
        ridge = KernelRidge(alpha=np.trace(within) / train.sum(), kernel="precomputed").fit(within, labels[train])
        predicted[~train] = ridge.predict(kernel[np.ix_(~train, train)])
    assert two_sample.auc(real, synthetic) == pytest.approx(roc_auc_score(labels > 0, predicted), abs=1e-9)


def test_too_few_or_unequal_sets_are_refused():
    for real, synthetic in ((sets(0, 9)[0], sets(0, 9)[1]), (sets(0, 20)[0], sets(0, 19)[1])):
        with pytest.raises(ValueError, match="two sets of equal n from 10 images on"):
            two_sample.auc(real, synthetic)
