"""Tests of two readers agree with published numbers and with statsmodels, keep their level, find what is planted."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as of_statsmodels

from p2d_lib.instruments import paired_readings, scores
from p2d_lib.vocabulary import DX

# Albumin (g/dl), total protein (g/dl), K-G score and a good outcome of surgery (1) in patients with ovarian cancer:
# the example of DeLong, DeLong and Clarke-Pearson (1988), the 43 without a missing value.
PATIENTS = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1
3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0
4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1
4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1
2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1 3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1
"""


def test_delong_gives_the_published_areas_errors_and_differences():
    """Areas, standard errors and p-values of SAS/STAT's example of PROC LOGISTIC on comparing areas."""
    albumin, protein, score, outcome = np.array(PATIENTS.split(), float).reshape(-1, 4).T
    good, patients, chance = outcome == 1, np.arange(43), np.zeros(43)
    measures = {"albumin": albumin, "protein": protein, "K-G": 10 - score}
    published = {"albumin": (0.7366, 0.0927), "protein": (0.6478, 0.1000), "K-G": (0.7258, 0.1028)}
    for name, (area, error) in published.items():
        against_chance = paired_readings.delong(good, measures[name], chance, patients)
        assert 0.5 + against_chance.difference == pytest.approx(area, abs=5e-5)
        assert (against_chance.high - against_chance.low) / 2 / 1.959964 == pytest.approx(error, abs=6e-5)
    for name, difference, p in (("albumin", 0.0108, 0.9102), ("protein", -0.0780, 0.4561)):
        test = paired_readings.delong(good, measures[name], measures["K-G"], patients)
        assert (test.difference, test.p) == pytest.approx((difference, p), abs=6e-5)


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
