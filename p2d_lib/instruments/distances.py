"""How far one set of images lies from another: Fréchet distance, KID, precision, recall, density and coverage.

All functions take features, floats (n, d), of any network. A number means something only beside another one from
the same network, image size and n: the bias of the Fréchet distance grows as n falls and differs from model to model
(Chong, Forsyth, CVPR 2020, arXiv 1911.07023).
"""

import numpy as np
from scipy.spatial.distance import cdist

NEIGHBOURS = 5  # k of precision, recall, density and coverage: the choice of Naeem et al.


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between Gaussians fitted to a (n, d) and b (m, d); of Inception's features it is FID (Heusel et
    al., NeurIPS 2017).

    |mean_a - mean_b|² + tr(S_a) + tr(S_b) - 2 tr((S_a S_b)^½). With S = RᵀR the last trace is the sum of the singular
    values of R_a R_bᵀ: the number of clean-fid without its matrix square root, so it is also exact where n <= d leaves
    S singular, and takes milliseconds. Raises ValueError for fewer than two rows.
    """
    (mean_a, root_a), (mean_b, root_b) = _gaussian(a), _gaussian(b)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + (root_a**2).sum() + (root_b**2).sum() - 2 * overlap
    return max(float(distance), 0.0)  # rounding leaves -1e-14 for equal sets


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and R (min(n, d), d) with RᵀR the covariance."""
    if len(features) < 2:
        raise ValueError(f"a covariance needs two images or more, there are {len(features)}")
    features = features.astype(np.float64)
    mean = features.mean(axis=0)
    return mean, np.linalg.qr((features - mean) / np.sqrt(len(features) - 1), mode="r")


def kid(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD under `cubic_kernel`: KID (Bińkowski et al., ICLR 2018). About 0 for equal laws.

    The estimate over all pairs of a (n, d) and b (m, d), without random subsets. Raises ValueError for fewer than two
    rows.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"KID needs two images or more a side, there are {len(a)} and {len(b)}")
    within = [
        (kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))
        for kernel in (cubic_kernel(a, a), cubic_kernel(b, b))
    ]
    return float(sum(within) - 2 * cubic_kernel(a, b).mean())


def cubic_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(x·y/d + 1)³ for every row x of a (n, d) and y of b (m, d): float64 (n, m)."""
    products = a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1
    return products * products * products  # ten times faster than ** 3


def prdc(real: np.ndarray, synthetic: np.ndarray, k: int = NEIGHBOURS) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al., NeurIPS 2019), density and coverage (Naeem et al., ICML 2020).

    real (n, d), synthetic (m, d). The ball of an image reaches to its k-th nearest neighbour in its own set. precision:
    share of synthetic images inside a real ball; density: real balls that a synthetic image lies in, over k (may exceed
    1); recall: share of real images inside a synthetic ball; coverage: share of real balls that hold a synthetic image.
    One far real image has a ball that anything falls into, so precision may call noise good: check it on negative
    controls before it is used. Raises ValueError unless both sides have more than k rows.
    """
    if min(len(real), len(synthetic)) <= k:
        raise ValueError(f"k = {k} neighbours need more than {k} images, there are {len(real)} and {len(synthetic)}")
    apart = cdist(real, synthetic)
    radius_real, radius_synthetic = (np.sort(cdist(x, x), axis=1)[:, k] for x in (real, synthetic))  # column 0: itself
    in_real, in_synthetic = apart <= radius_real[:, None], apart <= radius_synthetic[None, :]
    return {
        "precision": float(in_real.any(axis=0).mean()),
        "recall": float(in_synthetic.any(axis=1).mean()),
        "density": float(in_real.sum(axis=0).mean() / k),
        "coverage": float(in_real.any(axis=1).mean()),
    }
