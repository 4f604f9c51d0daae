"""Can a classifier tell one set from another? The classifier two-sample test (Lopez-Paz, Oquab, ICLR 2017).

An area of 0.5 means that it cannot, 1 that it always can. The test makes use of every difference between two sets that
their features show. Time and memory grow in proportion to the number of images: a classifier learns from at most MOST
pairs, and all images are read.
"""

from collections.abc import Iterator

import numpy as np
from scipy import stats
from scipy.linalg import cho_factor, cho_solve

from p2d_lib.instruments.distances import cubic_kernel, evenly_spaced
from p2d_lib.instruments.mmd import AT_ONCE
from p2d_lib.instruments.paired_tests import PERMUTATIONS, PermutationTest, p_value

FOLDS = 5
MOST = 1250  # pairs of rows that the classifiers of all folds learn from: each of them from 1,000
PREDICTIONS = 10**7  # in memory at a time


def auc(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Area under the ROC curve, 0..1, with which a cross-validated classifier tells synthetic from real images.

    real, synthetic (n, d): sets of equal n, row i of both of one class; at least 2 x FOLDS rows are needed. The
    classifier is kernel ridge regression on labels of -1 and 1 with the kernel of KID on standardised features, so it
    sees differences of means, of covariances and of skewness. Rows i of both sets lie in the same fold, so that every
    fold and its complement are balanced, which keeps the area of equal laws at 0.5. Above n = MOST the classifiers
    learn from MOST pairs, evenly spaced, so more images make the area more precise but no longer larger. Raises
    ValueError for sets of unequal or too small n.
    """
    return float(_areas(real, synthetic, np.zeros((1, len(real)), bool))[0])


def auc_test(
    real: np.ndarray, synthetic: np.ndarray, n_permutations: int = PERMUTATIONS, seed: int = 0
) -> PermutationTest:
    """`auc` with the two-sided p-value of the hypothesis that both sets follow one law within each class.

    Labels are exchanged within pairs of rows, which keeps folds and classes balanced, so the level is exact (Good,
    Permutation, Parametric and Bootstrap Tests of Hypotheses, 3rd ed. 2005). The classifiers are linear in the labels:
    those of many permutations are fitted and asked together.
    """
    swapped = np.random.default_rng(seed).random((1 + n_permutations, len(real))) < 0.5
    swapped[0] = False
    at_once = max(1, PREDICTIONS // (2 * max(1, len(real))))
    parts = (swapped[start : start + at_once] for start in range(0, len(swapped), at_once))
    areas = np.concatenate([_areas(real, synthetic, part) for part in parts])
    return PermutationTest(float(areas[0]), p_value(areas, centre=0.5))


def _areas(real: np.ndarray, synthetic: np.ndarray, swapped: np.ndarray) -> np.ndarray:
    """The area for each row of `swapped`, bool (b, n): which pairs of rows exchange their labels; (b,)."""
    n = len(real)
    if n != len(synthetic) or n < 2 * FOLDS:
        raise ValueError(
            f"two sets of equal n from {2 * FOLDS} images on are needed; there are {n} and {len(synthetic)}"
        )
    learnt, fold = evenly_spaced(n, MOST), np.arange(n) % FOLDS
    fold[learnt] = np.arange(len(learnt)) % FOLDS  # the spacing may be a multiple of FOLDS
    learnt, fold = np.concatenate([learnt, learnt + n]), np.tile(fold, 2)
    features = _standardised(np.vstack([real, synthetic]))
    is_synthetic = np.hstack([swapped, ~swapped])
    within = cubic_kernel(features[learnt], features[learnt])
    classifiers = _classifiers(within, fold[learnt], np.where(is_synthetic[:, learnt], 1.0, -1.0).T)
    predicted = np.empty(is_synthetic.shape)
    for rows, kernel in _kernels(features, learnt, within):
        for held, classifier in enumerate(classifiers):
            asked = fold[rows] == held
            predicted[:, rows[asked]] = (kernel[asked] @ classifier).T
    ranks = stats.rankdata(predicted, axis=1)
    return ((ranks * is_synthetic).sum(axis=1) - n * (n + 1) / 2) / n**2


def _standardised(features: np.ndarray) -> np.ndarray:
    """Features (n, d) with mean 0 and standard deviation 1, or 0 where all are equal: float64."""
    features = features.astype(np.float64)
    deviation = features.std(axis=0)
    features -= features.mean(axis=0)
    features /= np.where(deviation > 0, deviation, 1)
    return features


def _classifiers(kernel: np.ndarray, fold: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Coefficients of the classifier of each fold for b columns of labels: (FOLDS, m, b), 0 for the rows of the fold.

    kernel (m, m), fold (m,) and labels (m, b) of the rows that are learnt from.
    """
    coefficients = np.zeros((FOLDS, *labels.shape))
    for held in range(FOLDS):
        train = np.flatnonzero(fold != held)
        ridged = kernel[np.ix_(train, train)]
        ridged[np.diag_indices(len(train))] += np.trace(ridged) / len(train)  # the ridge: the mean of the diagonal
        coefficients[held, train] = cho_solve(cho_factor(ridged, overwrite_a=True), labels[train])
    return coefficients


def _kernels(features: np.ndarray, learnt: np.ndarray, within: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All rows in parts, each part (k,) with the kernel of its rows and the rows `learnt`: (k, m)."""
    yield learnt, within
    others = np.setdiff1d(np.arange(len(features)), learnt)
    for start in range(0, len(others), AT_ONCE):
        rows = others[start : start + AT_ONCE]
        yield rows, cubic_kernel(features[rows], features[learnt])
