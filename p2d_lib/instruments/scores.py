"""Scores of readings, on a sample and on its bootstrap replicates.

Malignant means mel, bcc or akiec (`vocabulary.MALIGNANT`), against the other four classes.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import csr_matrix

from p2d_lib.instruments import ranking
from p2d_lib.instruments.calibration import calibration_error
from p2d_lib.vocabulary import DX, MALIGNANT

SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "auc")  # the main ones
SPECIFICITIES = (80, 95)  # percent
FURTHER = (
    "weighted_f1", "macro_precision", "average_precision", "malignant_auc",
    *(f"malignant_sensitivity_at_{specificity}" for specificity in SPECIFICITIES), "brier", "calibration_error",
)  # fmt: skip
ABSTENTION = ""  # in place of a diagnosis: an error, whatever the truth
AT_ONCE = 250  # replicates; 2,000 rows of them lie in a processor's cache


def resampled_scores(
    dx: Sequence[str], dx_read: Sequence[str], p: ArrayLike | None, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """How well diagnoses are read, on the sample and on its replicates: {score: float (len(weights),)}, 0..1.

    The keys are SCORES and FURTHER. dx, dx_read: true and read diagnoses (n,); a reading may be an ABSTENTION. p:
    probabilities (n, 7) in the order of `vocabulary.DX`; without them, or with a NaN or an abstention, all scores of
    probabilities are NaN. weights: (1 + B, n), `intervals.resample` of the rows' lesions; one call of it serves all
    readers of the same images.

    balanced_accuracy is the mean recall of the classes. Means over classes run over the classes that occur in a
    replicate, precision of a class that is never read counts as 0; weighted_f1 weighs them by their images. auc and
    average_precision are means of one class against the rest. malignant_*: the probability of the three malignant
    classes together. brier: half of the sum over classes of (p - truth) squared, so that the worst is 1 (Brier, Monthly
    Weather Review 78, 1950). Each is scikit-learn's on the repeated rows, in a few hundredths of the time: counts are
    products of sparse matrices with the weights. Raises ValueError for an unknown diagnosis.
    """
    truth, read = _codes(dx, DX), _codes(dx_read, (*DX, ABSTENTION))
    p = np.full((len(truth), len(DX)), np.nan) if p is None else np.asarray(p, float)
    shape = len(DX), len(DX) + 1
    cells = _one_a_column(truth * shape[1] + read, shape[0] * shape[1])
    without = np.isnan(p).any() or (read == len(DX)).any()
    probabilities = None if without else _Probabilities(truth, read, p)
    parts = []
    for start in range(0, len(weights), AT_ONCE):
        by_row = np.ascontiguousarray(np.asarray(weights[start : start + AT_ONCE], float).T)
        part = _of_confusion((cells @ by_row).reshape(*shape, -1))
        parts.append(part | (probabilities.scores(by_row) if probabilities else {}))
    undefined = np.full(len(weights), np.nan)
    return {
        name: np.concatenate([part[name] for part in parts]) if name in parts[0] else undefined
        for name in (*SCORES, *FURTHER)
    }


def scores_by_seed(of_seeds: Iterable[pd.DataFrame], weights: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """`resampled_scores` of one reader's training seeds: {score: float (n_seeds, 1 + B)}, as `intervals.summarise`
    takes them.

    of_seeds: the readings of each seed with their true dx (dx, dx_read, p_akiec to p_vasc). weights: of each seed,
    from the same resamples of lesions, so that seeds and readers pair.
    """
    parts = [
        resampled_scores(part["dx"], part["dx_read"], part[[f"p_{dx}" for dx in DX]], of_part)
        for part, of_part in zip(of_seeds, weights, strict=True)
    ]
    return {score: np.stack([part[score] for part in parts]) for score in parts[0]}


def _of_confusion(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """The scores of counts (7, 8, b), true by read, the last column abstentions."""
    true, named = confusion.sum(1), confusion[:, : len(DX)]
    right, predicted = np.einsum("kkb->kb", named), named.sum(0)
    present = true > 0
    with np.errstate(invalid="ignore"):
        recall, f1 = right / true, 2 * right / (true + predicted)
    return {
        "accuracy": right.sum(0) / true.sum(0),
        "balanced_accuracy": _mean_where(recall, present),
        "macro_f1": _mean_where(f1, present),
        "weighted_f1": (np.where(present, f1, 0) * true).sum(0) / true.sum(0),
        "macro_precision": _mean_where(np.divide(right, predicted, out=0 * right, where=predicted > 0), present),
    }


class _Probabilities:
    """What the scores of probabilities need of a reader, computed once for all replicates."""

    def __init__(self, truth: np.ndarray, read: np.ndarray, p: np.ndarray) -> None:
        self.orders = [ranking.order(truth == k, p[:, k]) for k in np.unique(truth)]
        classes = [DX.index(name) for name in MALIGNANT]
        self.malignant = ranking.order(np.isin(truth, classes), p[:, classes].sum(1))
        self.brier = ((p - np.eye(len(DX))[truth]) ** 2).sum(1) / 2
        self.confidence, self.right = p[np.arange(len(p)), read], truth == read

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """weights: float64 (n, b)."""
        of_classes = [ranking.ranks(order, weights) for order in self.orders]
        areas = np.array([ranking.auc(ranks) for ranks in of_classes])
        precisions = np.array([ranking.average_precision(ranks) for ranks in of_classes])
        malignant = ranking.ranks(self.malignant, weights)
        return {
            "auc": _mean_where(areas, np.isfinite(areas)),
            "average_precision": _mean_where(precisions, np.isfinite(precisions)),
            "malignant_auc": ranking.auc(malignant),
            **{f"malignant_sensitivity_at_{s}": ranking.sensitivity_at(malignant, s / 100) for s in SPECIFICITIES},
            "brier": self.brier @ weights / weights.sum(0),
            "calibration_error": calibration_error(self.confidence, self.right, weights),
        }


def _one_a_column(places: np.ndarray, n_places: int) -> csr_matrix:
    """The matrix (n_places, n) that adds up the rows of each place."""
    return csr_matrix((np.ones(len(places)), (places, np.arange(len(places)))), shape=(n_places, len(places)))


def _codes(dx: Sequence[str], known: Sequence[str]) -> np.ndarray:
    codes = pd.Index(known).get_indexer(np.asarray(dx, object))
    if (codes < 0).any():
        unknown = np.asarray(dx, object)[codes < 0][0]
        raise ValueError(f"{unknown!r} is no diagnosis; expected one of {', '.join(DX)}")
    return codes


def _mean_where(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The mean over the first axis of the values that count; NaN where none does."""
    with np.errstate(invalid="ignore"):
        return np.where(where, values, 0).sum(0) / where.sum(0)
