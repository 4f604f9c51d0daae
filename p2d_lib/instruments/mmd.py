"""The maximum mean discrepancy of two sets, and CMMD: it under a Gaussian kernel, as Jayasumana et al. use it on CLIP.

Jayasumana et al., "Rethinking FID", CVPR 2024, arXiv 2401.09603. In contrast to the Fréchet distance it assumes no
Gaussian law, and in contrast to KID its kernel is characteristic: its expectation is 0 for equal laws only.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]
Classes = tuple[np.ndarray, np.ndarray]  # the class of each row of the first set (n,) and of the second (m,)
AT_ONCE = 2000  # rows of a kernel's matrix in memory
PAIRED = 2000  # rows that are compared each with each
BANDWIDTH, SCALE = 10.0, 1000.0  # sigma of the kernel and the factor of the published values


def squared_mmd(kernel: Kernel, a: np.ndarray, b: np.ndarray, classes: Classes | None = None) -> float:
    """The unbiased squared discrepancy (Gretton et al., JMLR 13, 2012, eq. 3): 0 on average for equal laws.

    a (n, d), b (m, d). kernel: gives the matrix (i, j) of i rows and j rows; memory grows with n + m, not with their
    product. Rows of a set of more than PAIRED are compared within disjoint parts of at most as many, so that time grows
    with n + m too, and the mean over parts stays unbiased (the B-test of Zaremba et al., NeurIPS 2013; the random
    subsets of KID serve the same end). classes: to be given where classes were chosen in fixed numbers. In such a set
    two images are of one class too rarely, so equal laws would come out below 0, the further the more the features part
    the classes. Then images of two classes (or of one) are compared with the weight that the law of the first set gives
    the two. NaN where a class has fewer than two rows in a set: no unbiased estimate exists.
    """
    first, second = classes or (np.zeros(len(a)), np.zeros(len(b)))
    names = np.union1d(first, second)
    of_a, of_b = ((np.asarray(each)[:, None] == names).astype(float) for each in (first, second))
    if min(of_a.sum(axis=0).min(), of_b.sum(axis=0).min()) < 2:
        return np.nan
    n_parts = -(-max(len(a), len(b)) // PAIRED)
    share, parts = of_a.mean(axis=0), (_parts(of_a, n_parts), _parts(of_b, n_parts))
    means = sum(
        np.mean([_within(kernel, rows[part], of_set[part]) for part in in_parts], axis=0)
        for rows, of_set, in_parts in ((a, of_a, parts[0]), (b, of_b, parts[1]))
    )
    pairs = [(parts[0][k % len(parts[0])], parts[1][k % len(parts[1])]) for k in range(max(map(len, parts)))]
    between = np.mean([_between(kernel, a[i], b[j], of_a[i], of_b[j]) for i, j in pairs], axis=0)
    return float(share @ (means - 2 * between) @ share)


def _parts(of_class: np.ndarray, n: int) -> list[np.ndarray]:
    """Rows (k,) of n disjoint parts, each with its share of every class; of fewer parts where one would have less than
    two rows of a class, of one where all rows are at most PAIRED. of_class (rows, classes): the class of each row."""
    n = 1 if len(of_class) <= PAIRED else min(n, int(of_class.sum(axis=0).min()) // 2)
    by_class = of_class.argmax(axis=1).argsort(kind="stable")
    return [np.sort(by_class[first::n]) for first in range(n)]


def _within(kernel: Kernel, rows: np.ndarray, of_class: np.ndarray) -> np.ndarray:
    """The mean kernel of two different rows of two classes: (i, i)."""
    n = of_class.sum(axis=0)
    sums, of_themselves = _sums(kernel, rows, rows, of_class, of_class)
    means = sums / np.outer(n, n)
    np.fill_diagonal(means, (np.diag(sums) - of_themselves) / (n * (n - 1)))
    return means


def _between(kernel: Kernel, a: np.ndarray, b: np.ndarray, of_a: np.ndarray, of_b: np.ndarray) -> np.ndarray:
    """The mean kernel of a row of a and one of b, of two classes: (i, i)."""
    return _sums(kernel, a, b, of_a, of_b)[0] / np.outer(of_a.sum(axis=0), of_b.sum(axis=0))


def _sums(
    kernel: Kernel, a: np.ndarray, b: np.ndarray, of_a: np.ndarray, of_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the kernel over the pairs of two classes (i, j), and over the pairs of a row and itself by class (i,).

    of_a (n, i), of_b (m, j): which rows are of which class.
    """
    total, diagonal = 0.0, np.empty(len(a))
    for start in range(0, len(a), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        matrix = kernel(a[part], b)
        total = total + of_a[part].T @ matrix @ of_b
        if a is b:
            diagonal[part] = np.diagonal(matrix, start)
    return total, of_a.T @ diagonal if a is b else diagonal[:0]


def cmmd(
    a: np.ndarray,
    b: np.ndarray,
    bandwidth: float = BANDWIDTH,
    biased: bool = False,
    classes: Classes | None = None,
) -> float:
    """SCALE times the squared discrepancy of a (n, d) and b (m, d), whose rows are first divided by their length.

    biased False: `squared_mmd` with these classes, about 0 and at times negative for equal laws. biased True: eq. 5 of
    Gretton et al. whatever the classes, the published reference, which also counts the pairs of an image with itself;
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
    a, b, kernel = unit_rows(a), unit_rows(b), partial(_gaussian, bandwidth=bandwidth)
    if not biased:
        return SCALE * squared_mmd(kernel, a, b, classes)
    aa, bb, ab = (_sums(kernel, *pair, *(np.ones((len(x), 1)) for x in pair))[0].item() / len(pair[0]) / len(pair[1])
                  for pair in ((a, a), (b, b), (a, b)))  # fmt: skip
    return SCALE * (aa + bb - 2 * ab)


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
