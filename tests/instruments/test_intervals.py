"""Intervals cover a planted truth, tests keep their level and find planted differences."""

import numpy as np
import pytest

from p2d_lib.instruments import intervals, multiplicity, scores
from p2d_lib.vocabulary import DX


def _readings(rng, n=300, skill=0.6):
    dx = rng.choice(DX, n, p=[0.05, 0.1, 0.15, 0.03, 0.15, 0.5, 0.02])
    p = rng.dirichlet(np.ones(7), n) * (1 - skill)
    p[np.arange(n), [DX.index(d) for d in dx]] += skill * rng.random(n)
    p = np.round(p, 2)  # ties, as a reader who answers in percent makes them
    return dx, np.array(DX)[p.argmax(1)], p


def _clustered(rng, n_lesions=60, shared=0.9):
    """Right and wrong answers on 1..7 images a lesion, nearly the same within a lesion; true accuracy 0.7."""
    sizes = rng.integers(1, 8, n_lesions)
    lesion = np.repeat(np.arange(n_lesions), sizes)
    easy = rng.random(n_lesions) < 0.7
    return lesion, np.where(rng.random(len(lesion)) < shared, easy[lesion], rng.random(len(lesion)) < 0.7).astype(float)


def test_intervals_over_lesions_cover_the_truth_and_intervals_over_images_do_not():
    covered = {"lesions": 0, "images": 0}
    for trial in range(200):
        lesion, right = _clustered(np.random.default_rng(trial))
        for name, groups in (("lesions", lesion), ("images", np.arange(len(lesion)))):
            interval = intervals.bootstrap(lambda rows, right=right: right[rows].mean(), groups, 200, seed=trial)
            covered[name] += interval.low <= 0.7 <= interval.high
    assert covered["lesions"] / 200 >= 0.90
    assert covered["images"] / 200 <= 0.75


def test_a_statistic_undefined_in_some_resamples_still_has_an_interval():
    right = np.array([1.0, 0, 1, 1, 0, 1])
    rare = np.array([1, 0, 0, 0, 0, 1], bool)

    def recall_of_the_rare(rows):
        return right[rows][rare[rows]].mean() if rare[rows].any() else np.nan

    assert intervals.bootstrap(recall_of_the_rare, np.arange(6)) == (1, 1, 1)


def test_rows_without_a_lesion_are_refused():
    with pytest.raises(ValueError, match="1 of 3 rows have no group"):
        intervals.resample(np.array(["a", None, "b"], object))


def test_holm_gives_the_values_worked_by_hand():
    np.testing.assert_allclose(multiplicity.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(multiplicity.holm([0.02, np.nan, 0.03]), [0.04, np.nan, 0.04])


def test_the_paired_test_keeps_its_level_and_finds_a_planted_difference():
    found = {0.0: 0, 0.15: 0}
    for trial in range(200):
        rng = np.random.default_rng(trial)
        lesion, right = _clustered(rng, shared=0.5)
        for planted in found:
            base = np.where(rng.random(len(right)) < 0.2, rng.random(len(right)) < 0.7, right)
            better = np.where(rng.random(len(right)) < 0.2, rng.random(len(right)) < 0.7, right)
            better = np.maximum(better, rng.random(len(right)) < planted / 0.3)
            weights = intervals.resample(lesion, 200, trial)
            n = weights.sum(1)
            found[planted] += intervals.compare(weights @ better / n, weights @ base / n).p <= 0.05
    assert found[0.0] / 200 <= 0.10
    assert found[0.15] / 200 >= 0.95


def test_a_difference_that_only_the_seeds_make_is_not_significant():
    """Arms equal on average, each training run off by its luck: lesions alone would call half of them different."""
    found = {"seeds": 0, "first seed only": 0}
    for trial in range(200):
        rng = np.random.default_rng(trial)
        weights = intervals.resample(np.arange(400), 200, seed=trial)
        luck = rng.normal(0.8, 0.05, (2, 5))
        arms = [[(weights @ (rng.random(400) < skill)) / 400 for skill in arm] for arm in luck]
        found["seeds"] += intervals.compare(*arms).p <= 0.05
        found["first seed only"] += intervals.compare(arms[0][0], arms[1][0]).p <= 0.05
    assert found["seeds"] / 200 <= 0.12
    assert found["first seed only"] / 200 >= 0.3


def test_scores_of_a_perfect_reader_are_one_and_of_a_constant_one_are_chance():
    dx = np.repeat(DX, 5)
    assert set(scores.scores(dx, dx, np.eye(7)[np.repeat(range(7), 5)]).values()) == {1.0}
    constant = scores.scores(dx, np.full(35, "nv"), np.full((35, 7), 1 / 7))
    assert constant["balanced_accuracy"] == pytest.approx(1 / 7)
    assert constant["auc"] == 0.5


def test_classes_that_do_not_occur_do_not_count():
    dx, read = ["mel", "mel", "nv"], ["mel", "df", "nv"]
    result = scores.scores(dx, read)
    assert result["balanced_accuracy"] == pytest.approx((0.5 + 1) / 2)
    assert result["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert np.isnan(result["auc"])
    with pytest.raises(ValueError, match="'melanoma' is no diagnosis"):
        scores.scores(dx, ["melanoma", "nv", "nv"])


def test_resampled_scores_are_the_scores_of_the_repeated_rows():
    rng = np.random.default_rng(0)
    dx, read, p = _readings(rng)
    weights = intervals.resample(rng.integers(0, 150, 300), 20, seed=1)
    fast = scores.resampled_scores(dx, read, p, weights)
    for b, times in enumerate(weights):
        slow = scores.scores(*(np.repeat(part, times, axis=0) for part in (dx, read, p)))
        assert {name: fast[name][b] for name in scores.SCORES} == pytest.approx(slow)
