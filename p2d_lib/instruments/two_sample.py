"""Can a classifier tell one set from another? The classifier two-sample test (Lopez-Paz, Oquab, ICLR 2017).

An area of 0.5 means that it cannot, 1 that it always can. The test makes use of every difference between two sets that
their features show.
"""

import numpy as np
from scipy import stats

from p2d_lib.instruments.distances import cubic_kernel
from p2d_lib.instruments.paired_tests import PERMUTATIONS, PermutationTest, p_value

FOLDS = 5


def auc(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Area under the ROC curve, 0..1, with which a cross-validated classifier tells synthetic from real images.

    real, synthetic (n, d): sets of equal n, row i of both of one class; at least 2 x FOLDS rows are needed. The
    classifier is kernel ridge regression on labels of -1 and 1 with the kernel of KID on standardised features, so it
    sees differences of means, of covariances and of skewness. Rows i of both sets lie in the same fold, so that every
    fold and its complement are balanced, which keeps the area of equal laws at 0.5. Raises ValueError for sets of
    unequal or too small n.
    """
    return float(_areas(_predictors(real, synthetic), np.zeros((1, len(real)), bool))[0])


def auc_test(
    real: np.ndarray, synthetic: np.ndarray, n_permutations: int = PERMUTATIONS, seed: int = 0
) -> PermutationTest:
    """`auc` with the two-sided p-value of the hypothesis that both sets follow one law within each class.

    Labels are exchanged within pairs of rows, which keeps folds and classes balanced, so the level is exact (Good,
    Permutation, Parametric and Bootstrap Tests of Hypotheses, 3rd ed. 2005). Predictions are linear in the labels:
    each permutation is one product with a matrix.
    """
    swapped = np.random.default_rng(seed).random((1 + n_permutations, len(real))) < 0.5
    swapped[0] = False
    areas = _areas(_predictors(real, synthetic), swapped)
    return PermutationTest(float(areas[0]), p_value(areas, centre=0.5))


def _predictors(real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """The matrix (2n, 2n) that turns labels (2n,) into cross-validated predictions (2n,)."""
    n = len(real)
    if n != len(synthetic) or n < 2 * FOLDS:
        raise ValueError(
            f"two sets of equal n from {2 * FOLDS} images on are needed; there are {n} and {len(synthetic)}"
        )
    pooled = np.vstack([real, synthetic]).astype(np.float64)
    deviation = pooled.std(axis=0)
    standardised = (pooled - pooled.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    kernel, fold = cubic_kernel(standardised, standardised), np.tile(np.arange(n) % FOLDS, 2)
    predictors = np.zeros_like(kernel)
    for held in range(FOLDS):
        train, predicted = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        within = kernel[np.ix_(train, train)]
        within += np.trace(within) / len(train) * np.eye(len(train))  # the ridge: the mean of the diagonal
        predictors[np.ix_(predicted, train)] = np.linalg.solve(within, kernel[np.ix_(train, predicted)]).T
    return predictors


def _areas(predictors: np.ndarray, swapped: np.ndarray) -> np.ndarray:
    """The area for each row of `swapped`, bool (b, n): which pairs of rows exchange their labels; (b,)."""
    is_synthetic = np.hstack([swapped, ~swapped])
    ranks = stats.rankdata(np.where(is_synthetic, 1.0, -1.0) @ predictors.T, axis=1)
    n = swapped.shape[1]
    return ((ranks * is_synthetic).sum(axis=1) - n * (n + 1) / 2) / n**2
