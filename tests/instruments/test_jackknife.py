"""The jackknife: it holds what it says, for a mean as for the distances that 05 prints, and groups keep together."""

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from p2d_lib.instruments import distances, two_sample
from p2d_lib.instruments.jackknife import jackknife


def test_the_interval_of_a_mean_is_students_when_each_row_is_a_group():
    x = np.random.default_rng(0).normal(size=25)
    estimates = np.ravel(jackknife(lambda rows: x[rows].mean(keepdims=True), 25, n_groups=25))
    expected = stats.t.interval(0.95, 24, x.mean(), stats.sem(x))
    np.testing.assert_allclose(estimates, [x.mean(), *expected, stats.ttest_1samp(x, 0).pvalue])


@pytest.mark.parametrize(("n", "d"), [(100, 8), (127, 64), (24, 32)])
def test_intervals_of_distances_hold_the_mean_of_new_sets_about_as_often_as_they_say(n, d):
    """The mean over new sets of the same n is what a distance at that n estimates."""

    def measured(seed):
        rng = np.random.default_rng(seed)
        real, synthetic = rng.normal(size=(n, d)), rng.normal(0.2, 1.1, size=(n, d))

        def of(rows):
            near = distances.prdc(real[rows], synthetic[rows]) if n >= 100 else {"recall": 0.0, "coverage": 0.0}
            both = real[rows], synthetic[rows]
            return np.array([distances.frechet(*both), distances.kid(*both), near["recall"], near["coverage"]])

        return np.stack(jackknife(of, n), axis=1)

    with threadpool_limits(1):  # two threads would wait for each other on a busy machine
        estimates = np.array([measured(seed) for seed in range(150)])
    truth = estimates[:, :, 0].mean(axis=0)
    held = ((estimates[:, :, 1] <= truth) & (truth <= estimates[:, :, 2])).mean(axis=0)
    assert (held >= 0.90).all(), held
    spread, width = estimates[:, :2, 0].std(axis=0), (estimates[:, :2, 2] - estimates[:, :2, 0]).mean(axis=0)
    assert (width < 2 * stats.t.ppf(0.975, 9) * spread).all(), "intervals that hold everything say nothing"


def test_a_replicate_leaves_one_group_out_of_all_sets_together():
    left_out = []
    jackknife(lambda rows: left_out.append(set(range(12)) - set(rows)) or np.zeros(1), 12, n_groups=4)
    assert left_out == [set(), {0, 4, 8}, {1, 5, 9}, {2, 6, 10}, {3, 7, 11}]


def test_an_undefined_replicate_gives_no_interval_and_one_row_is_refused():
    estimates = jackknife(lambda rows: np.array([1.0, 1.0 if len(rows) == 9 else np.nan]), 9, n_groups=3)
    assert [values[0] for values in estimates] == [1, 1, 1, 0]
    assert estimates.estimate[1] == 1 and np.isnan([estimates.low[1], estimates.high[1], estimates.p[1]]).all()
    with pytest.raises(ValueError, match="there are 1"):
        jackknife(lambda rows: np.zeros(1), 1)


def test_the_interval_of_a_classifiers_area_holds_the_mean_of_new_sets():
    def measured(seed):
        rng = np.random.default_rng(seed)
        real, synthetic = rng.normal(size=(60, 8)), rng.normal(0.3, 1, size=(60, 8))
        return jackknife(lambda rows: np.array([two_sample.auc(real[rows], synthetic[rows])]), 60)

    estimates = np.array([np.ravel(measured(seed))[:3] for seed in range(100)])
    truth = estimates[:, 0].mean()
    assert ((estimates[:, 1] <= truth) & (truth <= estimates[:, 2])).mean() >= 0.90
    assert 0.6 < truth < 0.75
