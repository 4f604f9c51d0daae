"""How far one set of images lies from another: Fréchet distance, KID, precision, recall, density and coverage.

All functions take features, floats (n, d), of any network. A number means something only beside another one from
the same network, image size and n: the bias of the Fréchet distance grows as n falls and differs from model to model
(Chong, Forsyth, CVPR 2020, arXiv 1911.07023).
"""

import numpy as np
from scipy.linalg import eigh
from scipy.linalg.blas import dtrmm
from scipy.linalg.lapack import dpstrf
from scipy.spatial.distance import cdist

from p2d_lib.instruments.intervals import Interval
from p2d_lib.instruments.jackknife import jackknife
from p2d_lib.instruments.mmd import AT_ONCE, Classes, squared_mmd
from p2d_lib.instruments.moments import Moments

EXACT = 512  # features; above, singular values come from their squares: in a third of the time, to 1e-7 of their sum
NEIGHBOURS = 5  # k of precision, recall, density and coverage: the choice of Naeem et al.
MOST = 10_000  # rows of a set whose neighbours are sought: as many as Naeem et al. take


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between Gaussians fitted to a (n, d) and b (m, d); of Inception's features it is FID (Heusel et
    al., NeurIPS 2017).

    |mean_a - mean_b|² + tr(S_a) + tr(S_b) - 2 tr((S_a S_b)^½). With S = RᵀR the last trace is the sum of the singular
    values of R_a R_bᵀ: the number of clean-fid without its matrix square root, so it is also exact where n <= d leaves
    S singular, where R is the centred rows. Raises ValueError for fewer than two rows.
    """
    for features in (a, b):
        if len(features) < 2:
            raise ValueError(f"a covariance needs two images or more, there are {len(features)}")
    if max(len(a), len(b)) > a.shape[1]:  # more images than features: their covariance is the smaller matrix
        return frechet_of_moments(Moments().add(a), Moments().add(b))
    (mean_a, root_a), (mean_b, root_b) = _centred(a), _centred(b)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return _frechet(mean_a, (root_a**2).sum(), mean_b, (root_b**2).sum(), overlap)


def frechet_of_moments(a: Moments, b: Moments) -> float:
    """`frechet` of features that are no longer there. Raises ValueError for fewer than two rows or different d."""
    if a.d != b.d:
        raise ValueError(f"features of {a.d} and of {b.d} numbers: they are of two extractors")
    overlap = _trace_of_root(a.covariance, b.covariance)
    return _frechet(a.mean, np.trace(a.covariance), b.mean, np.trace(b.covariance), overlap)


def _frechet(mean_a: np.ndarray, spread_a: float, mean_b: np.ndarray, spread_b: float, overlap: float) -> float:
    distance = ((mean_a - mean_b) ** 2).sum() + spread_a + spread_b - 2 * overlap
    return max(float(distance), 0.0)  # rounding leaves -1e-14 for equal sets


def _centred(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and R (n, d) with RᵀR the covariance."""
    features = features.astype(np.float64)
    mean = features.mean(axis=0)
    return mean, (features - mean) / np.sqrt(len(features) - 1)


def _trace_of_root(a: np.ndarray, b: np.ndarray) -> float:
    """tr((A B)^½) of covariances (d, d), singular ones too, by Cholesky with pivots: PᵀAP = RᵀR."""
    factor, pivots, rank, _ = dpstrf(a.T)  # symmetric; transposed, it is in the order of memory that LAPACK takes
    factor[rank:] = 0
    b = b[np.ix_(pivots - 1, pivots - 1)].T
    if len(a) <= EXACT:
        other, pivots, rank, _ = dpstrf(b)
        other[rank:] = 0
        root = np.empty_like(other)
        root[:, pivots - 1] = np.triu(other)
        return float(np.linalg.svd(np.triu(factor) @ root.T, compute_uv=False).sum())
    product = dtrmm(1.0, factor, dtrmm(1.0, factor, b, overwrite_b=True), side=1, trans_a=1, overwrite_b=True)  # R B Rᵀ
    squares = eigh(product, eigvals_only=True, driver="evr", overwrite_a=True, check_finite=False)
    return float(np.sqrt(squares.clip(0)).sum())


def kid(a: np.ndarray, b: np.ndarray, classes: Classes | None = None) -> float:
    """Unbiased squared MMD under `cubic_kernel`: KID (Bińkowski et al., ICLR 2018). About 0 for equal laws.

    a (n, d), b (m, d). The estimate over all pairs up to `mmd.PAIRED` rows, without random subsets. classes: of the
    rows, where each class has a fixed number of images (`mmd.squared_mmd`, which says when the result is NaN). Raises
    ValueError for fewer than two rows.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"KID needs two images or more a side, there are {len(a)} and {len(b)}")
    return squared_mmd(cubic_kernel, a, b, classes)


def kid_interval(reference: np.ndarray, features: np.ndarray, classes: Classes) -> Interval:
    """`kid` of features (n, d) to a reference (m, d) that stays as it is, with its 95 % jackknife interval over the n.

    The interval is given these real images: of a law that is shifted, it holds the KID of the two laws in 89 % only,
    with 16 real and 8 other images of each of 7 classes.
    classes: of the reference (m,) and of the features (n,), as `kid` takes them. Row i of the features belongs to group
    i mod 10 of the jackknife. NaN where a class has too few rows. Raises ValueError for fewer than two rows.
    """

    def statistic(rows: np.ndarray) -> np.ndarray:
        return np.array([kid(reference, features[rows], (classes[0], classes[1][rows]))])

    estimate, low, high, _ = jackknife(statistic, len(features))
    return Interval(float(estimate[0]), float(low[0]), float(high[0]))


def cubic_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(x·y/d + 1)³ for every row x of a (n, d) and y of b (m, d): float64 (n, m)."""
    products = a.astype(np.float64, copy=False) @ b.astype(np.float64, copy=False).T / a.shape[1] + 1
    return products * products * products  # ten times faster than ** 3


def prdc(real: np.ndarray, synthetic: np.ndarray, k: int = NEIGHBOURS) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al., NeurIPS 2019), density and coverage (Naeem et al., ICML 2020).

    real (n, d), synthetic (m, d). The ball of an image reaches to its k-th nearest neighbour in its own set. precision:
    share of synthetic images inside a real ball; density: real balls that a synthetic image lies in, over k (may exceed
    1); recall: share of real images inside a synthetic ball; coverage: share of real balls that hold a synthetic image.
    One far real image has a ball that anything falls into, so precision may call noise good: check it on negative
    controls before it is used. Each row is compared with each; of a set of more than MOST rows, MOST evenly spaced ones
    are taken, since the measures depend on n in any case. Raises ValueError unless both sides have more than k rows.
    """
    if min(len(real), len(synthetic)) <= k:
        raise ValueError(f"k = {k} neighbours need more than {k} images, there are {len(real)} and {len(synthetic)}")
    real, synthetic = (features[evenly_spaced(len(features), MOST)] for features in (real, synthetic))
    of_real, of_synthetic = _radii(real, k), _radii(synthetic, k)
    n_balls, recalled, covered = np.zeros(len(synthetic), int), 0, 0  # real balls that each synthetic image lies in
    for start in range(0, len(real), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        apart = cdist(real[part], synthetic)
        in_real = apart <= of_real[part, None]
        n_balls += in_real.sum(axis=0)
        covered += in_real.any(axis=1).sum()
        recalled += (apart <= of_synthetic).any(axis=1).sum()
    return {
        "precision": float((n_balls > 0).mean()),
        "recall": float(recalled / len(real)),
        "density": float(n_balls.mean() / k),
        "coverage": float(covered / len(real)),
    }


def evenly_spaced(n: int, most: int) -> np.ndarray:
    """Row numbers of at most `most` of n rows: of rows sorted by class, they keep the shares of the classes."""
    taken = min(n, most)
    return np.arange(taken) * n // max(taken, 1)


def _radii(features: np.ndarray, k: int) -> np.ndarray:
    """The distance of each row (n, d) to its k-th nearest other row: (n,)."""
    parts = (cdist(features[start : start + AT_ONCE], features) for start in range(0, len(features), AT_ONCE))
    # place 0: the row itself; copied, since a column that is a view keeps its whole matrix
    return np.concatenate([np.partition(apart, k, axis=1)[:, k].copy() for apart in parts])
