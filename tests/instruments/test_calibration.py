"""The calibration error recovers planted overconfidence, and a calibrated reader is within what n alone makes."""

import numpy as np
import pytest

from p2d_lib.instruments.calibration import calibration_error, error_if_calibrated


def _readings(seed, n, overconfidence):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.4, 0.9, n)
    return confidence, rng.random(n) < confidence - overconfidence


def _error(confidence, right):
    return calibration_error(confidence, right, np.ones((len(right), 1))).item()


def test_planted_overconfidence_is_recovered():
    assert _error(*_readings(0, 50_000, 0.2)) == pytest.approx(0.2, abs=0.01)


def test_it_is_the_mean_over_bins_as_it_is_written_in_the_paper():
    confidence, right = _readings(1, 400, 0.1)
    place, expected = np.minimum(np.floor(confidence * 15), 14), 0.0
    for bin_ in np.unique(place):
        rows = place == bin_
        expected += rows.mean() * abs(right[rows].mean() - confidence[rows].mean())
    assert _error(confidence, right) == pytest.approx(expected)
    weights = np.random.default_rng(0).integers(0, 3, (400, 2))
    of_repeated = _error(np.repeat(confidence, weights[:, 1]), np.repeat(right, weights[:, 1]))
    assert calibration_error(confidence, right, weights.astype(float))[1] == pytest.approx(of_repeated)


@pytest.mark.parametrize("n", [60, 600])
def test_of_a_calibrated_reader_it_is_what_n_alone_makes_and_of_an_overconfident_one_more(n):
    excess = {
        planted: np.mean([_error(*one) - error_if_calibrated(one[0], 50).estimate for one in readings])
        for planted in (0.0, 0.2)
        for readings in ([_readings(trial, n, planted) for trial in range(30)],)
    }
    assert abs(excess[0.0]) < 0.01
    assert excess[0.2] > 0.08
    assert _error(*_readings(0, n, 0.0)) > 0, "so the plain error of a calibrated reader is no sign of a fault"


def test_the_error_of_a_calibrated_reader_lies_in_the_interval_as_often_as_it_says_and_of_an_overconfident_one_above():
    inside, above = 0, 0
    for trial in range(200):
        for planted in (0.0, 0.2):
            confidence, right = _readings(trial, 150, planted)
            _, low, high = error_if_calibrated(confidence, 200, seed=trial)
            inside += not planted and low <= _error(confidence, right) <= high
            above += bool(planted) and _error(confidence, right) > high
    assert 0.90 <= inside / 200 <= 0.99
    assert above / 200 >= 0.95
