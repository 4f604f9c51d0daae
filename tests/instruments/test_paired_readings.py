"""Tests of two readers agree with published numbers and with statsmodels, keep their level, find what is planted."""

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar as of_statsmodels

from p2d_lib.instruments import paired_readings, scores
from p2d_lib.vocabulary import DX

# WFNS grade, S100B (µg/l), NDKA (µg/l) and a poor outcome (1) of 113 patients with a subarachnoid haemorrhage: Turck et
# al., Intensive Care Medicine 36, 2010, as the R package pROC hands it out (data set aSAH).
PATIENTS = """
1 0.13 3.01 0  1 0.14 8.54 0  1 0.1 8.09 0  1 0.04 10.42 0  3 0.13 17.4 1  2 0.1 12.75 1  5 0.47 6 0  4 0.16 13.2 1
1 0.18 15.54 0  2 0.1 6.01 0  5 0.12 15.96 1  2 0.1 17.86 0  5 0.44 5.18 1  5 0.71 8.9 1  1 0.04 13.41 0
2 0.08 20.75 0  5 0.49 11.6 1  2 0.04 16.11 0  2 0.07 32.37 1  5 0.33 54.82 1  2 0.09 32.41 1  1 0.09 49.94 0
1 0.07 40.34 1  1 0.11 9.47 0  1 0.07 6.29 0  2 0.17 12.53 0  1 0.07 6.54 0  2 0.11 6.3 0  1 0.13 80.3 0
1 0.19 12.8 0  3 0.05 9.8 0  4 0.16 9.81 0  2 0.41 9.85 1  1 0.14 18.21 0  4 0.34 5.03 0  5 0.35 14.04 1
4 0.48 21.93 1  1 0.09 8.02 0  4 0.96 7.42 1  2 0.25 8.38 1  5 0.5 6.59 0  5 0.46 9.63 0  1 0.16 13.12 0
1 0.07 7.96 0  2 0.43 14.34 0  4 0.45 41.43 0  1 0.11 7.63 0  1 0.08 7.06 0  2 0.09 12.59 0  5 0.86 13.56 1
5 0.52 3.87 1  2 0.08 9.44 0  1 0.06 7.66 0  2 0.13 12.98 0  5 2.07 419.19 1  1 0.1 27.19 0  2 0.14 22.27 0
2 0.15 9.95 0  2 0.07 21.22 1  1 0.06 11.73 0  5 0.77 10.4 1  1 0.05 58.83 0  1 0.09 6.39 0  2 0.3 11.09 1
5 0.03 12.22 1  2 0.09 13.67 1  1 0.04 17.21 0  4 0.23 22.63 1  5 0.7 12.9 1  2 0.09 9.7 0  4 0.27 21.57 1
4 0.71 8.23 1  1 0.08 72.57 1  4 0.26 15.54 1  1 0.08 10.51 0  2 0.16 10.6 0  1 0.09 14.57 0  4 0.13 5.19 1
2 0.1 9.63 1  1 0.08 4.61 0  2 0.11 21.48 1  3 0.33 17.3 0  2 0.11 12.71 0  4 0.28 9.44 0  2 0.07 11.07 0
1 0.1 19.46 0  4 0.32 10.83 0  5 0.22 5.37 1  1 0.07 11.97 0  1 0.05 7.75 0  5 0.24 9.83 0  4 0.38 10.55 0
2 0.1 28.49 0  2 0.15 8.53 0  1 0.08 12.57 0  1 0.14 12.9 0  1 0.1 46.83 0  3 0.07 11.68 0  1 0.04 12.67 0
2 0.19 9.01 0  5 0.56 9.57 1  2 0.14 34.06 1  2 0.58 11.72 1  5 0.32 14.26 1  5 0.82 47.61 1  5 0.74 11.67 1
2 0.15 24.58 0  4 0.47 10.33 0  4 0.17 13.87 0  5 0.44 15.89 1  1 0.15 22.43 0  1 0.5 6.79 0  1 0.48 13.45 0
"""


@pytest.mark.parametrize(
    ("first", "second", "z", "p", "low", "high"),
    [  # what pROC's own tests of roc.test expect
        ("wfns", "s100b", 2.20898359144091, 0.0271757822291882, 0.0104061769564846, 0.174214419249478),
        ("wfns", "ndka", 2.79777591868904, 0.00514557970691098, 0.0634011709339876, 0.3600405634833566),
        ("ndka", "s100b", -1.39077002573558, 0.164295175223054, -0.2876917446341914, 0.0488706064228094),
    ],
)
def test_delong_gives_the_values_that_proc_publishes(first, second, z, p, low, high):
    *measures, outcome = np.array(PATIENTS.split(), float).reshape(-1, 4).T
    by_name = dict(zip(("wfns", "s100b", "ndka"), measures, strict=True))
    test = paired_readings.delong(outcome == 1, by_name[first], by_name[second], np.arange(113))
    assert (test.p, test.low, test.high) == pytest.approx((p, low, high), rel=1e-9)
    assert test.difference / ((test.high - test.low) / 2 / norm.ppf(0.975)) == pytest.approx(z, rel=1e-9)


def test_delong_by_lesion_is_what_all_pairs_give_one_by_one():
    """The areas and Obuchowski's variance, written out over all pairs of a positive and a negative image."""
    lesions, malignant, first, second = _readers(3, 0.5, 40)
    first, second = np.round(first), np.round(second, 1)  # with ties
    rows = {side: np.flatnonzero(malignant == side) for side in (True, False)}
    wins = [
        np.array([[(s[i] > s[j]) + (s[i] == s[j]) / 2 for j in rows[False]] for i in rows[True]])
        for s in (first, second)
    ]
    apart = wins[0] - wins[1]
    difference, of_lesions = apart.mean(), dict.fromkeys(np.unique(lesions), 0.0)
    for axis, side in ((1, True), (0, False)):
        scale = np.sqrt(n_lesions / (n_lesions - 1)) if (n_lesions := len(set(lesions[rows[side]]))) else 0
        for row, value in zip(rows[side], apart.mean(axis) - difference, strict=True):
            of_lesions[lesions[row]] += scale * value / len(rows[side])
    error = np.sqrt(sum(value**2 for value in of_lesions.values()))
    test = paired_readings.delong(malignant, first, second, lesions)
    assert test.difference == pytest.approx(difference)
    assert (test.high - test.low) / 2 == pytest.approx(norm.ppf(0.975) * error)


def test_mcnemar_with_one_image_a_lesion_is_that_of_statsmodels():
    rng = np.random.default_rng(0)
    first, second = rng.random(200) < 0.7, rng.random(200) < 0.6
    table = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
    expected = of_statsmodels(table, exact=False, correction=False).pvalue
    assert paired_readings.mcnemar(first, second, np.arange(200)).p == pytest.approx(expected)


def _readers(seed, planted=0.0, n_lesions=120):
    """Lesions of 1 to 5 images that are hardly told apart: truth, and the two readers' views of malignancy."""
    rng = np.random.default_rng(seed)
    lesions = np.repeat(np.arange(n_lesions), rng.integers(1, 6, n_lesions))
    malignant = (rng.random(n_lesions) < 0.4)[lesions]
    of_lesions = rng.normal(size=(2, n_lesions))[:, lesions]
    views = of_lesions + 0.3 * rng.normal(size=of_lesions.shape) + 1.5 * malignant
    return lesions, malignant, views[0] + planted * (malignant - 0.5), views[1]


def _tests(seed, planted=0.0, by_image=False):
    lesions, malignant, first, second = _readers(seed, planted)
    lesions = np.arange(len(lesions)) if by_image else lesions
    right = [(view > 0.75) == malignant for view in (first, second)]

    def accuracy(weights):
        return weights @ np.concatenate(right) / len(lesions)

    return {
        "swap": paired_readings.swap_test(accuracy, lesions, 99, seed),
        "mcnemar": paired_readings.mcnemar(*right, lesions),
        "delong": paired_readings.delong(malignant, first, second, lesions),
    }


def test_they_keep_their_level_by_lesion_and_would_not_by_image():
    """Of 1,000 cohorts 0.05 to 0.06 by lesion, 0.23 to 0.30 by image."""
    rejected = {True: [], False: []}
    for by_image, of_trials in rejected.items():
        for trial in range(300):
            of_trials.append([test.p <= 0.05 for test in _tests(trial, by_image=by_image).values()])
    by_lesion, by_image = (np.mean(rejected[by_image], axis=0) for by_image in (False, True))
    assert (by_lesion >= 0.02).all() and (by_lesion <= 0.085).all(), by_lesion
    assert (by_image >= 0.12).all(), by_image


def test_they_find_a_planted_difference_and_their_intervals_cover_its_size():
    size = {name: np.mean([_tests(trial, 1.5)[name][0] for trial in range(100, 300)]) for name in ("mcnemar", "delong")}
    tests = [_tests(trial, 1.5) for trial in range(100)]
    for name in ("swap", "mcnemar", "delong"):
        assert np.mean([test[name].p <= 0.05 for test in tests]) >= 0.8, name
    for name, truth in size.items():
        assert truth > 0.05
        assert np.mean([test[name].low <= truth <= test[name].high for test in tests]) >= 0.88, name


def test_swapping_takes_any_score_and_all_seeds_together():
    rng = np.random.default_rng(0)
    dx = rng.choice(DX, 150)
    lesions = np.arange(150) // 2
    read = [np.where(rng.random(150) < skill, dx, "nv") for skill in (0.8, 0.8, 0.5, 0.5)]

    def balanced_accuracy(weights):
        of_seeds = [
            scores.resampled_scores(np.tile(dx, 2), np.concatenate([read[k], read[k + 2]]), None, weights)
            for k in range(2)
        ]
        return np.mean([one["balanced_accuracy"] for one in of_seeds], axis=0)

    test = paired_readings.swap_test(balanced_accuracy, lesions, 199)
    assert test.observed == pytest.approx(0.25, abs=0.1) and test.p == 1 / 200
    seeds = [np.array(one) == dx for one in read]
    assert paired_readings.mcnemar(seeds[:2], seeds[2:], lesions).difference == pytest.approx(
        np.mean(seeds[:2]) - np.mean(seeds[2:])
    )


def test_equal_readers_have_p_1_and_too_few_lesions_are_refused():
    lesions, malignant, first, _ = _readers(0)
    right = (first > 0.75) == malignant
    assert paired_readings.mcnemar(right, right, lesions) == (0, 0, 0, 1)
    assert paired_readings.delong(malignant, first, first, lesions) == (0, 0, 0, 1)
    few = lesions < 9
    with pytest.raises(ValueError, match="9 lesions are too few for this test, which needs 10"):
        paired_readings.mcnemar(right[few], right[few], lesions[few])
    with pytest.raises(ValueError, match="positive lesions are too few"):
        paired_readings.delong(malignant[few], first[few], first[few], lesions[few])
