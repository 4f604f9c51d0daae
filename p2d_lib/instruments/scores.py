"""Scores of readings: accuracy, balanced accuracy, macro-F1 and AUC, on a sample and on its bootstrap replicates.

`mann_whitney` tests whether an area differs from chance.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import mannwhitneyu

from p2d_lib.vocabulary import DX

SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "auc")


def resampled_scores(
    dx: Sequence[str], dx_read: Sequence[str], p: ArrayLike | None, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """How well diagnoses are read, on the sample and on its replicates: {score: float (len(weights),)}, 0..1.

    dx, dx_read: true and read diagnoses (n,). p: probabilities (n, 7) in the order of `vocabulary.DX`; without them, or
    with a NaN among them, auc is NaN. weights: (1 + B, n), `intervals.resample` of the rows' lesions. Means over
    classes run over the classes that occur in a replicate; auc is the mean of one class against the rest over those of
    them that have a rest. Some hundred times faster than repeating the rows: confusion matrices are one product with
    the weights, and areas are weighted rank sums of rows that are sorted once. Raises ValueError for an unknown
    diagnosis.
    """
    truth, read, weights = _codes(dx), _codes(dx_read), np.asarray(weights, float)
    cells = np.eye(len(DX) ** 2)[truth * len(DX) + read]
    confusion = (weights @ cells).reshape(-1, len(DX), len(DX))  # of true x read
    right, true, predicted = np.einsum("bkk->bk", confusion), confusion.sum(2), confusion.sum(1)
    present = true > 0
    with np.errstate(invalid="ignore"):
        recall, f1 = right / true, 2 * right / (true + predicted)
    p = np.full((len(truth), len(DX)), np.nan) if p is None else np.asarray(p, float)
    areas = np.full(present.shape, np.nan)
    for k in np.unique(truth) if not np.isnan(p).any() else ():
        areas[:, k] = weighted_auc(truth == k, p[:, k], weights)
    return {
        "accuracy": right.sum(1) / true.sum(1),
        "balanced_accuracy": _mean_where(recall, present),
        "macro_f1": _mean_where(f1, present),
        "auc": _mean_where(areas, np.isfinite(areas)),
    }


def weighted_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area under the ROC curve, with each row counted as often as its weight: float (b,).

    positive: bool (n,). score: (n,), higher for positive. weights: (b, n), at least 0. NaN where one side is empty.
    Mann-Whitney's U over the number of pairs; ties count one half.
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))  # rows of one score share a rank
    sorted_weights = weights[:, order]
    up = np.add.reduceat(sorted_weights * positive[order], starts, axis=1)
    down = np.add.reduceat(sorted_weights * ~positive[order], starts, axis=1)
    with np.errstate(invalid="ignore"):
        return (up * (down.cumsum(1) - down / 2)).sum(1) / (up.sum(1) * down.sum(1))


def mann_whitney(positive: np.ndarray, score: np.ndarray) -> float:
    """The two-sided p-value of "the area under the ROC curve is 0.5": Mann and Whitney's test (Ann Math Stat 1947).

    positive: bool (n,). score: (n,). NaN where one side is empty.
    """
    positive, score = np.asarray(positive, bool), np.asarray(score, float)
    if positive.all() or not positive.any():
        return float("nan")
    return float(mannwhitneyu(score[positive], score[~positive]).pvalue)


def _codes(dx: Sequence[str]) -> np.ndarray:
    codes = pd.Index(DX).get_indexer(np.asarray(dx, object))
    if (codes < 0).any():
        unknown = np.asarray(dx, object)[codes < 0][0]
        raise ValueError(f"{unknown!r} is no diagnosis; expected one of {', '.join(DX)}")
    return codes


def _mean_where(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(where, values, 0).sum(1) / where.sum(1)
