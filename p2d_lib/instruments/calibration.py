"""Calibration: do probabilities say how often a reading is right?"""

import numpy as np
from scipy.sparse import csr_matrix

BINS = 15


def calibration_error(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The expected calibration error (Guo et al., ICML 2017), 0..1: float (b,).

    confidence: (n,), 0..1, the probability of the diagnosis that was read. right: bool (n,), whether it is the true
    one. weights: (n, b), how often each row counts. The mean over rows of |share right - mean confidence| of their bin,
    of BINS bins of equal width.

    It is never below 0, so it is above 0 for a calibrated reader too, the more so the fewer rows there are, and higher
    in resamples than in the sample. So its percentile interval does not cover the truth: print it beside
    `error_if_calibrated` of the same rows.
    """
    confidence, right = np.asarray(confidence, float), np.asarray(right, float)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    excess = csr_matrix((right - confidence, (place, np.arange(len(place)))), shape=(BINS, len(place)))
    return np.abs(excess @ weights).sum(0) / weights.sum(0)


def error_if_calibrated(confidence: np.ndarray, n_simulations: int = 200, seed: int = 0) -> float:
    """The mean calibration error of a reader of these confidences who is perfectly calibrated, 0..1.

    Its readings are simulated: each is right with the probability that it states (the consistency resampling of
    Bröcker, Smith, Weather and Forecasting 22, 2007). Images of one lesion are simulated as independent ones, so the
    value is a lower bound where there are several a lesion.
    """
    confidence = np.asarray(confidence, float)
    right = np.random.default_rng(seed).random((n_simulations, len(confidence))) < confidence
    weights = np.ones((len(confidence), 1))
    return float(np.mean([calibration_error(confidence, one, weights)[0] for one in right]))
