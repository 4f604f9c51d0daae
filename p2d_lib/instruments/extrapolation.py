"""The Fréchet distance extrapolated to infinitely many images.

At finite n the distance of two samples of one law is above 0, by how much depends on the law and the network. Chong,
Forsyth, "Effectively Unbiased FID and Inception Score", CVPR 2020, arXiv 1911.07023: the bias is close to linear in
1 / n, so a line through the distances of smaller samples leads to the distance at 1 / n = 0.

It is linear only where n is several times the number of directions in which the images vary. Two samples of 120 nevi of
HAM10000 have a distance of 57 in all 1,280 features of EfficientNet-Lite0, and the line still leads to 36; in their 32
leading principal components they have 13, and the line leads to about 1. So `principal` comes first at small n.
"""

import numpy as np

from p2d_lib.instruments.distances import frechet

SIZES = 15  # as dgm-eval takes, arXiv 2306.04675
SMALLEST = 0.4  # of n: still smaller samples leave the range in which the bias is linear
COMPONENTS = 32
ROWS_A_COMPONENT = 3  # n per component that the line needs at least


def principal(a: np.ndarray, b: np.ndarray, components: int = COMPONENTS) -> tuple[np.ndarray, np.ndarray]:
    """Features a (n, d) and b (m, d) in the leading principal components of both sets pooled: (n, k) and (m, k).

    The choice of components makes no difference between the two sets. What differs outside them is not measured, so a
    distance in them compares only with distances in as many components.
    """
    pooled = np.vstack([a, b]).astype(np.float64)
    pooled -= pooled.mean(axis=0)
    smaller = pooled @ pooled.T if len(pooled) <= pooled.shape[1] else pooled.T @ pooled
    vectors = np.linalg.eigh(smaller)[1][:, : -components - 1 : -1]  # of the largest eigenvalues
    if len(pooled) <= pooled.shape[1]:
        vectors = np.linalg.qr(pooled.T @ vectors)[0]
    projected = pooled @ vectors
    return projected[: len(a)], projected[len(a) :]


def frechet_at_infinity(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance at infinite n of features a and b, both (n, k); about 0 for equal laws, so at times negative.

    Row i of both is of one class, rows are sorted by class and in random order within it, as for `jackknife`, which
    gives an interval that is rather too wide than too narrow. The line goes through SIZES sample sizes from SMALLEST n
    to n. A sample of m takes every (n / m)-th row, so it keeps the shares of the classes and depends on no random
    number; as many samples of each size as cover all rows are averaged. Raises ValueError for sets of unequal n and for
    n below ROWS_A_COMPONENT k.
    """
    n, k = a.shape
    if len(b) != n or n < ROWS_A_COMPONENT * k:
        raise ValueError(
            f"two sets of equal n are needed, with {ROWS_A_COMPONENT} images or more for each of the {k} components; "
            f"there are {n} and {len(b)} images: take fewer components"
        )
    sizes = np.unique(np.linspace(SMALLEST * n, n, SIZES).round().astype(int))
    distances = [np.mean([frechet(a[rows], b[rows]) for rows in _samples(n, size)]) for size in sizes]
    return float(np.polyfit(1 / sizes, distances, 1)[1])


def _samples(n: int, size: int) -> list[np.ndarray]:
    """Systematic samples of `size` of n rows, evenly moved against each other so that together they cover all rows."""
    starts = (np.arange(-(-n // size)) + 0.5) * size / n
    return [((np.arange(size) + start % 1) * n / size).astype(int) for start in starts]
