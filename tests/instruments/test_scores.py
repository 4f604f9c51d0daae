"""Scores are those of scikit-learn, on the sample and on each resample."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.metrics import roc_auc_score

from p2d_lib.instruments import intervals, scores
from p2d_lib.vocabulary import DX, MALIGNANT


def _readings(rng, n=300, skill=0.6):
    dx = rng.choice(DX, n, p=[0.05, 0.1, 0.15, 0.03, 0.15, 0.5, 0.02])
    p = rng.dirichlet(np.ones(7), n) * (1 - skill)
    p[np.arange(n), [DX.index(d) for d in dx]] += skill * rng.random(n)
    p = np.floor(p / p.sum(1, keepdims=True) * 64) / 64  # ties, as a reader who answers in percent makes them
    p[:, 5] += 1 - p.sum(1)
    return dx, np.array(DX)[p.argmax(1)], p


def _scores(dx, dx_read, p=None):
    """The scores on the sample itself."""
    replicates = scores.resampled_scores(dx, dx_read, p, np.ones((1, len(dx))))
    return {name: float(values[0]) for name, values in replicates.items()}


def _by_scikit_learn(dx, dx_read, p):
    present = np.unique(dx)
    of_class = {"labels": present, "average": "macro", "zero_division": 0}
    of_one = [(dx == name, p[:, DX.index(name)]) for name in present]
    malignant, p_malignant = np.isin(dx, MALIGNANT), p[:, [DX.index(name) for name in MALIGNANT]].sum(1)
    false_alarms, caught, _ = metrics.roc_curve(malignant, p_malignant, drop_intermediate=False)
    return {
        "accuracy": metrics.accuracy_score(dx, dx_read),
        "balanced_accuracy": metrics.recall_score(dx, dx_read, **of_class),
        "macro_f1": metrics.f1_score(dx, dx_read, **of_class),
        "auc": np.mean([roc_auc_score(*one) for one in of_one]),
        "weighted_f1": metrics.f1_score(dx, dx_read, average="weighted"),
        "macro_precision": metrics.precision_score(dx, dx_read, **of_class),
        "average_precision": np.mean([metrics.average_precision_score(*one) for one in of_one]),
        "malignant_auc": roc_auc_score(malignant, p_malignant),
        "malignant_sensitivity_at_80": caught[false_alarms <= 0.2 + 1e-9].max(),
        "malignant_sensitivity_at_95": caught[false_alarms <= 0.05 + 1e-9].max(),
        "brier": metrics.brier_score_loss(dx, p, labels=DX, scale_by_half=True),
    }


def test_scores_of_a_perfect_reader_are_one_and_of_a_constant_one_are_chance():
    dx = np.repeat(DX, 5)
    perfect = _scores(dx, dx, np.eye(7)[np.repeat(range(7), 5)])
    assert (perfect.pop("brier"), perfect.pop("calibration_error")) == (0, 0)
    assert set(perfect.values()) == {1.0}
    constant = _scores(dx, np.full(35, "nv"), np.full((35, 7), 1 / 7))
    assert constant["balanced_accuracy"] == pytest.approx(1 / 7)
    assert constant["auc"] == constant["malignant_auc"] == 0.5
    assert constant["malignant_sensitivity_at_95"] == 0
    assert constant["average_precision"] == pytest.approx(1 / 7)


def test_scores_of_a_reader_who_guesses_are_chance():
    rng = np.random.default_rng(0)
    dx, read, p = rng.choice(DX, 4000), rng.choice(DX, 4000), rng.dirichlet(np.ones(7), 4000)
    guessed = _scores(dx, read, p)
    for name, chance in (("accuracy", 1 / 7), ("balanced_accuracy", 1 / 7), ("macro_f1", 1 / 7), ("auc", 0.5)):
        assert guessed[name] == pytest.approx(chance, abs=0.02)


def test_classes_that_do_not_occur_do_not_count():
    dx, read = ["mel", "mel", "nv"], ["mel", "df", "nv"]
    result = _scores(dx, read)
    assert result["balanced_accuracy"] == pytest.approx((0.5 + 1) / 2)
    assert result["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert all(np.isnan(result[name]) for name in ("auc", "average_precision", "brier", "calibration_error"))
    with pytest.raises(ValueError, match="'melanoma' is no diagnosis"):
        _scores(dx, ["melanoma", "nv", "nv"])


def test_resampled_scores_are_those_of_scikit_learn_on_the_repeated_rows():
    rng = np.random.default_rng(0)
    dx, read, p = _readings(rng)
    weights = intervals.resample(rng.integers(0, 150, 300), 20, seed=1)
    fast = scores.resampled_scores(dx, read, p, weights)
    for b, times in enumerate(weights):
        expected = _by_scikit_learn(*(np.repeat(part, times, axis=0) for part in (dx, read, p)))
        assert {name: fast[name][b] for name in expected} == pytest.approx(expected)
    assert set(fast) - set(expected) == {"calibration_error"}, "it has tests of its own"


def test_a_class_that_a_resample_lacks_leaves_its_means_defined():
    dx, read = np.array(["df", "nv", "nv", "mel"]), np.array(["df", "nv", "mel", "mel"])
    without_df = scores.resampled_scores(dx, read, None, np.array([[1, 1, 1, 1], [0, 1, 2, 1]]))
    assert without_df["balanced_accuracy"] == pytest.approx([(1 + 1 / 2 + 1) / 3, (1 / 3 + 1) / 2])
    assert without_df["macro_precision"] == pytest.approx([(1 + 1 + 1 / 2) / 3, (1 + 1 / 3) / 2])


def _lesions(rng, n_lesions):
    """Readings of 1 to 3 images a lesion that resemble one another: lesion, truth, probabilities."""
    lesion = np.repeat(np.arange(n_lesions), rng.choice([1, 2, 3], n_lesions, p=[0.7, 0.2, 0.1]))
    truth = rng.choice(7, n_lesions, p=[0.03, 0.05, 0.11, 0.02, 0.11, 0.65, 0.03])[lesion]
    ease = rng.normal(size=n_lesions)[lesion] + 0.6 * rng.normal(size=len(lesion))
    logits = rng.normal(size=(len(lesion), 7))
    logits[np.arange(len(lesion)), truth] += 1.6 + 1.2 * ease + 0.8 * (truth == DX.index("nv"))
    p = np.exp(logits)
    return lesion, np.array(DX)[truth], p / p.sum(1, keepdims=True)


def test_intervals_over_lesions_cover_the_true_scores_of_such_lesions_except_of_the_calibration_error():
    """200 lesions as in smoke. 1,000 such cohorts gave 0.92 to 0.96, and 0.93 to 0.96 with HAM10000's 1,494 lesions."""
    _, dx, p = _lesions(np.random.default_rng(10**6), 100_000)
    truth = _scores(dx, np.array(DX)[p.argmax(1)], p)
    covered = dict.fromkeys(truth, 0)
    for trial in range(100):
        lesion, dx, p = _lesions(np.random.default_rng([200, trial]), 200)
        weights = intervals.resample(lesion, 300, seed=trial)
        for name, replicates in scores.resampled_scores(dx, np.array(DX)[p.argmax(1)], p, weights).items():
            interval = intervals.summarise(replicates, bounds=(0, 1))
            covered[name] += interval.low <= truth[name] <= interval.high
    assert covered.pop("calibration_error") < 80, "so its interval is not printed"
    assert min(covered.values()) >= 85, covered
