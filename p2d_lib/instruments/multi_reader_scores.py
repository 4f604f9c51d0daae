"""The scores that `multi_reader` compares, with their covariances over cases.

Readings are float (t, r, n): treatments, readers, cases; NaN where a reader did not read a case with a treatment. So
cases may be nested within readers or within treatments, and readers may have read blocks of the cases.
"""

from collections.abc import Callable

import numpy as np

from p2d_lib.instruments.binormal import binormal_auc
from p2d_lib.instruments.multi_reader import Scores
from p2d_lib.instruments.paired_readings import placements


def empirical_auc(positive: np.ndarray, rating: np.ndarray) -> float:
    """The area under the empirical ROC curve, 0..1, ties one half; NaN where one side is empty."""
    positive = np.asarray(positive, bool)
    if positive.all() or not positive.any():
        return float("nan")
    return float(placements(positive, np.asarray(rating, float))[positive].mean())


def mean(_: np.ndarray, rating: np.ndarray) -> float:
    """The mean of right (1) and wrong (0) readings: accuracy; sensitivity or specificity on cases of one side."""
    return float(rating.mean()) if len(rating) else float("nan")


SCORES: dict[str, tuple[Callable[[np.ndarray, np.ndarray], float], bool | None]] = {
    "auc": (empirical_auc, None),
    "binormal_auc": (binormal_auc, None),
    "accuracy": (mean, None),
    "sensitivity": (mean, True),
    "specificity": (mean, False),
}  # name: (what computes it from the truth and one reader's readings, the side of the cases that it takes)


def jackknife(score: str, positive: np.ndarray, readings: np.ndarray) -> Scores:
    """Scores and the covariances that the jackknife over cases gives (Efron, The Jackknife, the Bootstrap and Other
    Resampling Plans, 1982).

    score: a key of SCORES. "auc" takes ratings, higher for positive; accuracy, sensitivity and specificity take 1 for a
    right reading and 0 for a wrong one. positive: bool (n,). readings: (t, r, n). Two scores without a common case have
    covariance 0. Raises ValueError where a reader's readings do not define the score.
    """
    positive, readings = _checked(positive, readings)
    compute, side = SCORES[score]
    if side is not None:
        positive, readings = positive[positive == side], readings[:, :, positive == side]
    _, n_readers, n_cases = readings.shape
    flat = readings.reshape(-1, n_cases)
    estimates = np.array([_of(compute, positive, one) for one in flat])
    if np.isnan(estimates).any():
        treatment, reader = divmod(int(np.isnan(estimates).argmax()), n_readers)
        raise ValueError(
            f"reader {reader + 1} has no {score} with treatment {treatment + 1}: its "
            f"{np.isfinite(readings[treatment, reader]).sum()} readings lack what the score needs, such as one side"
        )
    without = np.array(
        [_without_each(compute, positive, one, all_of) for one, all_of in zip(flat, estimates, strict=True)]
    )
    deviations = without - without.mean(1, keepdims=True)
    covariance = (n_cases - 1) / n_cases * deviations @ deviations.T
    return _scores(estimates, covariance, readings)


def delong(positive: np.ndarray, ratings: np.ndarray) -> Scores:
    """Empirical areas under the ROC curve, with DeLong's covariances (Biometrics 44, 1988).

    positive: bool (n,). ratings: (t, r, n), higher for positive. Raises ValueError where a rating is missing (the
    jackknife does not need all) and where one side has fewer than two cases.
    """
    positive, ratings = _checked(positive, ratings)
    if np.isnan(ratings).any():
        raise ValueError(f"{np.isnan(ratings).sum()} ratings are missing: DeLong's method needs all; use the jackknife")
    if min(positive.sum(), (~positive).sum()) < 2:
        raise ValueError(f"{positive.sum()} positive of {len(positive)} cases: DeLong's method needs two of each side")
    flat = ratings.reshape(-1, ratings.shape[-1])
    shares = np.array([placements(positive, one) for one in flat])
    covariance = sum(np.atleast_2d(np.cov(shares[:, side])) / side.sum() for side in (positive, ~positive))
    return _scores(shares[:, positive].mean(1), covariance, ratings)


def _checked(positive: np.ndarray, readings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    positive, readings = np.asarray(positive, bool), np.asarray(readings, float)
    if readings.ndim != 3 or readings.shape[2] != len(positive):
        raise ValueError(
            f"readings have shape {readings.shape}; expected (treatments, readers, {len(positive)}), a column for each "
            "case"
        )
    return positive, readings


def _of(compute: Callable, positive: np.ndarray, readings: np.ndarray) -> float:
    known = np.isfinite(readings)
    return compute(positive[known], readings[known])


def _without_each(compute: Callable, positive: np.ndarray, readings: np.ndarray, all_of: float) -> np.ndarray:
    """The score without each case in turn, (n,); cases of one truth and reading are alike, so that one of them does."""
    known, result = np.isfinite(readings), np.full(len(readings), all_of)
    kinds, kind = np.unique(np.stack([positive, np.nan_to_num(readings, nan=np.inf)]), axis=1, return_inverse=True)
    kind = kind.reshape(-1)
    for code in range(kinds.shape[1]):
        rows = np.flatnonzero((kind == code) & known)
        if len(rows):
            keep = known.copy()
            keep[rows[0]] = False
            result[rows] = compute(positive[keep], readings[keep])
    return result


def _scores(estimates: np.ndarray, covariance: np.ndarray, readings: np.ndarray) -> Scores:
    n_treatments, n_readers, _ = readings.shape
    known = np.isfinite(readings).reshape(len(estimates), -1).astype(float)
    shape = (n_treatments, n_readers)
    covariance = np.where(known @ known.T > 0, covariance, 0.0)
    return Scores(estimates.reshape(shape), covariance.reshape(shape * 2))
