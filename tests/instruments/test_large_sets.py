"""Distances of large sets: work grows with the number of images, and the numbers stay what they are of smaller sets."""

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from p2d_lib.instruments import distances, mmd, two_sample


def sets(seed, n, shift=0.0, d=8):
    rng = np.random.default_rng(seed)
    real, synthetic = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    synthetic[:, 0] += shift
    return real, synthetic


@pytest.fixture
def small_limits(monkeypatch):
    """Sets of 100 rows are large: the limits of today's sets would need tens of thousands of images."""
    monkeypatch.setattr(two_sample, "MOST", 50)
    monkeypatch.setattr(mmd, "PAIRED", 50)
    monkeypatch.setattr(distances, "MOST", 100)
    for module in (distances, mmd, two_sample):
        monkeypatch.setattr(module, "AT_ONCE", 40)


def work(monkeypatch, measure, n):
    """Pairs of rows that a measure compares, and the most memory that it takes, in bytes."""
    pairs = []

    def counted(function):
        def wrapper(a, b):
            pairs.append(len(a) * len(b))
            return function(a, b)

        return wrapper

    with monkeypatch.context() as patch:
        for module, name in ((distances, "cubic_kernel"), (two_sample, "cubic_kernel"), (distances, "cdist")):
            patch.setattr(module, name, counted(getattr(module, name)))
        real, other = sets(0, n)
        tracemalloc.start()
        measure(real, other)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return sum(pairs), peak


@pytest.mark.parametrize(("measure", "most"), [(two_sample.auc, 4.2), (distances.kid, 4.2), (distances.prdc, 1.01)])
def test_four_times_as_many_images_are_at_most_four_times_the_work(monkeypatch, small_limits, measure, most):
    few, many = (work(monkeypatch, measure, n) for n in (1000, 4000))
    assert many[0] <= most * few[0]
    assert many[1] <= 4.2 * few[1]


def test_one_law_has_half_the_area_and_kid_0_and_is_told_apart_at_the_nominal_rate(small_limits):
    tested = [two_sample.auc_test(*sets(seed, 120), 99, seed) for seed in range(200)]
    assert np.mean([test.observed for test in tested]) == pytest.approx(0.5, abs=0.01)
    assert 0.02 <= np.mean([test.p <= 0.05 for test in tested]) <= 0.09
    kids = np.array([distances.kid(*sets(seed, 120)) for seed in range(200)])
    assert abs(kids.mean()) < 3 * kids.std() / np.sqrt(len(kids))


def test_a_planted_shift_has_the_area_of_the_classifiers_of_so_many_pairs_but_less_chance(small_limits):
    best = stats.norm.cdf(1 / np.sqrt(2))
    few, many = ([two_sample.auc(*sets(seed, n, shift=1.0)) for seed in range(20)] for n in (50, 1000))
    assert np.mean(many) == pytest.approx(np.mean(few), abs=0.03) and np.mean(many) < best
    assert np.std(many) < 0.6 * np.std(few)
    assert two_sample.auc_test(*sets(0, 1000, shift=0.6), 99).p == pytest.approx(1 / 100)


@pytest.mark.parametrize("n", [60, 250])  # not a multiple of the rows learnt from, and one that is a multiple of FOLDS
def test_the_area_is_that_of_scikit_learns_kernel_ridge_on_evenly_spaced_pairs(small_limits, n):
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.metrics import roc_auc_score

    real, synthetic = sets(3, n, shift=0.7)
    pooled = np.vstack([real, synthetic])
    pooled = (pooled - pooled.mean(0)) / pooled.std(0)
    labels, learnt, fold = np.repeat([-1.0, 1.0], n), np.arange(50) * n // 50, np.arange(n) % 5
    fold[learnt] = np.arange(50) % 5
    fold, may_learn = np.tile(fold, 2), np.tile(np.isin(np.arange(n), learnt), 2)
    kernel, predicted = distances.cubic_kernel(pooled, pooled), np.zeros(2 * n)
    for held in range(5):
        train = may_learn & (fold != held)
        assert train.sum() == 80, "classifiers of all folds learn from as many rows"
        within = kernel[np.ix_(train, train)]
        ridge = KernelRidge(alpha=np.trace(within) / train.sum(), kernel="precomputed").fit(within, labels[train])
        predicted[fold == held] = ridge.predict(kernel[np.ix_(fold == held, train)])
    assert two_sample.auc(real, synthetic) == pytest.approx(roc_auc_score(labels > 0, predicted), abs=1e-9)


def test_permutations_in_parts_are_the_same_permutations(small_limits, monkeypatch):
    whole = two_sample.auc_test(*sets(1, 120, shift=0.3), 99)
    monkeypatch.setattr(two_sample, "PREDICTIONS", 5000)
    assert two_sample.auc_test(*sets(1, 120, shift=0.3), 99) == pytest.approx(whole, abs=1e-9)


def test_kid_of_parts_is_the_mean_of_kids_of_disjoint_rows_and_near_that_of_all_pairs(small_limits, monkeypatch):
    real, other = sets(0, 300, shift=1.0)
    classes = np.arange(300) % 3
    parts = mmd._parts((classes[:, None] == np.arange(3)).astype(float), 6)
    assert sorted(np.concatenate(parts)) == list(range(300))
    assert all((np.bincount(classes[rows], minlength=3) >= 16).all() for rows in parts)
    of_parts = [distances.kid(real[rows], other[rows]) for rows in parts]
    assert distances.kid(real, other) == pytest.approx(
        np.mean([distances.kid(real[k::6], other[k::6]) for k in range(6)])
    )
    in_parts = distances.kid(real, other, (classes, classes))
    monkeypatch.setattr(mmd, "PAIRED", 300)
    assert in_parts == pytest.approx(distances.kid(real, other, (classes, classes)), rel=0.1)
    assert in_parts == pytest.approx(np.mean(of_parts), rel=0.1)


def test_a_small_set_is_compared_whole_with_all_parts_of_a_large_one(small_limits):
    real, other = sets(0, 300, shift=1.0)
    few = other[:40]
    between = [distances.cubic_kernel(real[k::6], few).mean() for k in range(6)]
    within = [
        distances.cubic_kernel(rows, rows)[~np.eye(len(rows), dtype=bool)].mean()
        for rows in (few, *(real[k::6] for k in range(6)))
    ]
    assert distances.kid(real, few) == pytest.approx(within[0] + np.mean(within[1:]) - 2 * np.mean(between))


def test_a_class_too_rare_for_all_parts_takes_larger_parts_and_the_number_stays(small_limits, monkeypatch):
    rare = np.zeros(300, int)
    rare[[5, 100, 200, 299]] = 1  # two parts have two rows each
    values = [distances.kid(*sets(seed, 300), (rare, rare)) for seed in range(100)]
    assert np.isfinite(values).all() and abs(np.mean(values)) < 3 * np.std(values) / 10


def test_precision_of_large_sets_is_that_of_evenly_spaced_rows(small_limits):
    real, other = sets(0, 250)
    rows = np.arange(100) * 250 // 100
    assert distances.prdc(real, other) == distances.prdc(real[rows], other[rows])
    assert distances.evenly_spaced(7, 10).tolist() == list(range(7)) and not len(distances.evenly_spaced(0, 10))
