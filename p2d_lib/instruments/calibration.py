"""Calibration: do probabilities say how often a reading is right?"""

import numpy as np
from scipy.sparse import csr_matrix

from p2d_lib.instruments.intervals import Interval

BINS = 15


def calibration_error(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The expected calibration error (Guo et al., ICML 2017), 0..1: float (b,).

    confidence: (n,), 0..1, the probability of the diagnosis that was read. right: bool (n,), whether it is the true
    one. weights: (n, b), how often each row counts. The mean over rows of |share right - mean confidence| of their bin,
    of BINS bins of equal width.

    It is never below 0, so it is above 0 for a calibrated reader too, the more so the fewer rows there are, and higher
    in resamples than in the sample. So its bootstrap intervals do not cover the truth (percentile, basic and shifted
    ones cover 0 to 58 % where the true error is 0): print it beside `error_if_calibrated` of the same rows.
    """
    confidence, right = np.asarray(confidence, float), np.asarray(right, float)
    return np.abs(_of_bins(confidence, right - confidence) @ weights).sum(0) / weights.sum(0)


def error_if_calibrated(confidence: np.ndarray, n_simulations: int = 200, seed: int = 0) -> Interval:
    """The calibration error of a reader of these confidences who is perfectly calibrated: its mean and middle 95 %.

    Its readings are simulated: each is right with the probability that it states (the consistency resampling of
    Bröcker, Smith, Weather and Forecasting 22, 2007), so a calibrated reader's error lies in the interval 95 times of
    100. Images of one lesion are simulated as independent ones, so where there are several a lesion the values are
    lower bounds.
    """
    confidence = np.asarray(confidence, float)
    right = np.random.default_rng(seed).random((n_simulations, len(confidence))) < confidence
    sums = _of_bins(confidence, np.ones(len(confidence))) @ (right - confidence).T
    errors = np.abs(sums).sum(0) / len(confidence)
    return Interval(float(errors.mean()), *map(float, np.quantile(errors, (0.025, 0.975))))


def _of_bins(confidence: np.ndarray, values: np.ndarray) -> csr_matrix:
    """The matrix (BINS, n) that adds up the values of the rows of each bin."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return csr_matrix((values, (place, np.arange(len(place)))), shape=(BINS, len(place)))
