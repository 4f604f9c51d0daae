"""CMMD: the maximum mean discrepancy under a Gaussian kernel, as Jayasumana et al. use it on CLIP embeddings.

Jayasumana et al., "Rethinking FID", CVPR 2024, arXiv 2401.09603. In contrast to the Fréchet distance it assumes no
Gaussian law, and in contrast to KID its kernel is characteristic: its expectation is 0 for equal laws only.
"""

import numpy as np

BANDWIDTH, SCALE = 10.0, 1000.0  # sigma of the kernel and the factor of the published values


def cmmd(a: np.ndarray, b: np.ndarray, bandwidth: float = BANDWIDTH, biased: bool = False) -> float:
    """SCALE times the squared discrepancy of a (n, d) and b (m, d), whose rows are first divided by their length.

    biased False: the unbiased estimate of Gretton et al. (JMLR 13, 2012, eq. 3), about 0 and at times negative for
    equal laws. biased True: their eq. 5, the published reference, which also counts the pairs of an image with itself;
    it adds about SCALE (1 / n + 1 / m) (1 - mean kernel) to equal laws, which is no small matter at n of a few hundred.
    bandwidth: sigma of exp(-|x - y|² / (2 sigma²)). Unit vectors are at most 2 apart, so at sigma = 10 the kernel is
    close to linear: CMMD is then nearly SCALE / sigma² = 10 times the squared distance between the two mean vectors, of
    whatever network. A value compares with published ones only on the embeddings of CLIP ViT-L/14 at 336 px with
    biased True. Features of other networks lie closer together or further apart on the sphere, so their values compare
    within that network alone; a bandwidth near the median distance of real images also sees other differences than
    those of the means. Raises ValueError for fewer than two rows or a row of length 0.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"CMMD needs two images or more a side, there are {len(a)} and {len(b)}")
    a, b = unit_rows(a), unit_rows(b)
    within = [_mean(_gaussian(x, x, bandwidth), biased) for x in (a, b)]
    return float(SCALE * (sum(within) - 2 * _gaussian(a, b, bandwidth).mean()))


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows of features (n, d) divided by their Euclidean length: float64 (n, d). Raises ValueError where it is 0."""
    features = np.asarray(features, np.float64)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    if not (length > 0).all():
        row = int(np.flatnonzero(~(length[:, 0] > 0))[0])
        raise ValueError(f"features of row {row} have length {length[row, 0]}: they have no direction, check the image")
    return features / length


def _gaussian(a: np.ndarray, b: np.ndarray, bandwidth: float) -> np.ndarray:
    """exp(-|x - y|² / (2 bandwidth²)) for unit rows x of a and y of b: (n, m)."""
    return np.exp((a @ b.T - 1) / bandwidth**2)


def _mean(kernel: np.ndarray, biased: bool) -> float:
    """The mean of a kernel (n, n), without its diagonal unless biased."""
    n = len(kernel)
    return kernel.mean() if biased else (kernel.sum() - np.trace(kernel)) / (n * (n - 1))
