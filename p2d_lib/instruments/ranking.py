"""How well a score ranks positive rows above negative ones, on a sample and on its bootstrap replicates.

Area under the ROC curve, average precision and sensitivity at a specificity, all from one table of counts: how many
negative rows lie above each positive one. The counts of all replicates are one product of a sparse matrix, which has
one entry a row, with the weights.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix


class Order(NamedTuple):
    """Rows in the order of a score, without weights: which negative rows lie above which positive ones.

    positive: int (n_positive,), the positive rows in the order of falling score. first_tied, last_tied: int
    (n_positive,), the first and the last place with the same score. above: sparse (n_positive + 1, n), row i holds the
    negative rows below place i - 1 and not below place i. tied: sparse (n_positive, n), at the first place of a score
    the negative rows with that score; None where there are none.
    """

    positive: np.ndarray
    first_tied: np.ndarray
    last_tied: np.ndarray
    above: csr_matrix
    tied: csr_matrix | None


class Ranks(NamedTuple):
    """The positive rows in the order of falling score, and what lies above them in each replicate; float64.

    positive: (n_positive, b), weights of the positive rows. above: (n_positive, b), weight of the negative rows with
    the same or a higher score. tied: (n_positive, b), of those with the same score, or 0.0. last_tied: as in `Order`.
    n_negative: (b,), weight of all negative rows.
    """

    positive: np.ndarray
    above: np.ndarray
    tied: np.ndarray | float
    last_tied: np.ndarray
    n_negative: np.ndarray


def order(positive: np.ndarray, score: np.ndarray) -> Order:
    """Sorts the rows once, for all replicates.

    positive: bool (n,). score: (n,), higher for positive. Raises ValueError for a score that is NaN.
    """
    positive, falling = np.asarray(positive, bool), -np.asarray(score, float)
    if np.isnan(falling).any():
        raise ValueError(f"{np.isnan(falling).sum()} of {len(falling)} scores are NaN: leave out these rows")
    rows, negative = np.flatnonzero(positive), np.flatnonzero(~positive)
    rows = rows[np.argsort(falling[rows], kind="stable")]
    first = np.searchsorted(falling[rows], falling[negative], "left")  # the first place not above a negative row
    is_tied = first < np.searchsorted(falling[rows], falling[negative], "right")
    places = [np.searchsorted(falling[rows], falling[rows], side) for side in ("left", "right")]
    tied = _sums(first[is_tied], negative[is_tied], (len(rows), len(falling))) if is_tied.any() else None
    return Order(rows, places[0], places[1] - 1, _sums(first, negative, (len(rows) + 1, len(falling))), tied)


def ranks(order: Order, weights: np.ndarray) -> Ranks:
    """Counts the rows above each positive one. weights: float64 (n, b), at least 0, how often each row counts."""
    above = order.above @ weights
    np.cumsum(above, axis=0, out=above)
    tied = 0.0 if order.tied is None else (order.tied @ weights)[order.first_tied]
    return Ranks(weights[order.positive], above[:-1], tied, order.last_tied, above[-1])


def auc(counts: Ranks) -> np.ndarray:
    """The area under the ROC curve, 0..1: float (b,). NaN where one side is empty.

    Mann and Whitney's U over the number of pairs; ties count one half.
    """
    below = counts.n_negative - counts.above + counts.tied / 2
    with np.errstate(invalid="ignore"):
        return np.einsum("ij,ij->j", counts.positive, below) / (counts.positive.sum(0) * counts.n_negative)


def average_precision(counts: Ranks) -> np.ndarray:
    """The mean over positive rows of the precision at their score, 0..1: float (b,). NaN without a positive row.

    As scikit-learn's `average_precision_score`: no interpolation between thresholds. A guess has the share of the
    positive rows.
    """
    right = counts.positive.cumsum(axis=0)
    n_positive = counts.positive.sum(0)
    right = right if (counts.last_tied == np.arange(len(right))).all() else right[counts.last_tied]
    called = right + counts.above
    precision = np.divide(right, called, out=np.zeros_like(right), where=called > 0)
    with np.errstate(invalid="ignore"):
        return np.einsum("ij,ij->j", counts.positive, precision) / n_positive


def sensitivity_at(counts: Ranks, specificity: float) -> np.ndarray:
    """The share of positive rows above the lowest threshold with at least this specificity, 0..1: float (b,).

    NaN where one side is empty. No interpolation between thresholds.
    """
    allowed = (1 - specificity) * counts.n_negative * (1 + 1e-12)  # 0.05 x 20 is 1, whatever the rounding
    caught = np.einsum("ij,ij->j", counts.positive, counts.above <= allowed)
    with np.errstate(invalid="ignore"):
        return np.where(counts.n_negative > 0, caught / counts.positive.sum(0), np.nan)


def weighted_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area under the ROC curve, with each row counted as often as its weight: float (b,); see `order`, `auc`.

    weights: (b, n), at least 0, as `intervals.resample` gives them.
    """
    return auc(ranks(order(positive, score), np.ascontiguousarray(np.asarray(weights, float).T)))


def _sums(place: np.ndarray, rows: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    """The matrix that adds up the rows of each place."""
    return csr_matrix((np.ones(len(rows)), (place, rows)), shape=shape)
