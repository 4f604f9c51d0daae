"""Does a generator reproduce its train images? A permutation test of three samples.

Meehan, Chaudhuri, Dasgupta (AISTATS 2020, arXiv 2004.05675) compare the distance of synthetic images to train images
with that of unseen real ones. Blurred images lie close to everything and poor ones far from everything, so their test
calls the first copies and misses copies among the second. Here each synthetic image is measured against train images
and against unseen real images, so that its quality cancels out; the FLD gap of Jiralerspong et al. (NeurIPS 2023, arXiv
2302.04440) rests on the same comparison, but fits its kernel to the train images and has no level.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from p2d_lib.instruments.mmd import AT_ONCE
from p2d_lib.instruments.paired_tests import PERMUTATIONS

NEAREST = 32  # real images among which the nearest train and the nearest unseen image are sought first


class Overfitting(NamedTuple):
    """What `overfitting` measures.

    difference: -1..1, the statistic less its mean under exchanged labels; below 0 synthetic images lie nearer to train
    images than to unseen ones. share: 0..1, synthetic images whose nearest real image is a train image. expected: 0..1,
    that share without copying. p: one-sided p-value of no copying, at least 1 / (1 + permutations).
    """

    difference: float
    share: float
    expected: float
    p: float


def overfitting(
    train: tuple[np.ndarray, np.ndarray],
    unseen: tuple[np.ndarray, np.ndarray],
    synthetic: tuple[np.ndarray, np.ndarray],
    n_permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Overfitting:
    """Whether synthetic images lie nearer to the train images of their class than to unseen real ones.

    train, unseen, synthetic: features (n, d) with the class of each row (n,). Train and unseen images of a class must
    be exchangeable: a random split by lesion, one image a lesion, and an extractor that was fitted on neither (not
    the scout). Then the generator's images may follow any law, good or poor: unless it has made use of the train images
    themselves, the labels train and unseen are exchangeable within each class, and so the level is exact. The statistic
    is the mean over synthetic images of (t - u) / (t + u), with t and u the distances to the nearest train and the
    nearest unseen image of the class; it is bounded, so one exact copy does not outweigh all others. Classes without
    images on one of the three sides are left out. Raises ValueError where no class remains.
    """
    rng, totals, nearest, count = np.random.default_rng(seed), 0.0, np.zeros(2), 0
    for dx in np.unique(synthetic[1]):
        of_train, of_unseen, of_set = (features[classes == dx] for features, classes in (train, unseen, synthetic))
        if not len(of_train) or not len(of_unseen):
            continue
        is_train = _exchanged(len(of_train), len(of_unseen), n_permutations, rng)
        real, n_train, n = np.vstack([of_train, of_unseen]), len(of_train), len(of_set)
        for start in range(0, n, AT_ONCE):
            apart = cdist(of_set[start : start + AT_ONCE], real)
            totals = totals + sum(_relative(distances, is_train) for distances in apart)
            nearest[0] += (apart.argmin(axis=1) < n_train).sum()
        nearest[1] += n * n_train / len(real)
        count += n
    if not count:
        raise ValueError("no class has train, unseen and synthetic images: choose sets that share a class")
    p = (1 + (totals[1:] <= totals[0] + 1e-12).sum()) / len(totals)
    share, expected = nearest / count
    return Overfitting(float(totals[0] - totals[1:].mean()) / count, float(share), float(expected), float(p))


def _exchanged(n_train: int, n_unseen: int, n_permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Which of the real images count as train images: bool (1 + n_permutations, n); line 0 as they are."""
    labels = np.tile(np.arange(n_train + n_unseen) < n_train, (1 + n_permutations, 1))
    labels[1:] = rng.permuted(labels[1:], axis=1)
    return labels


def _relative(distances: np.ndarray, is_train: np.ndarray) -> np.ndarray:
    """(t - u) / (t + u) of one synthetic image with distances (n,) to real images, for each line of is_train (b, n)."""
    nearest = _nearest_of_both(distances, is_train, min(NEAREST, len(distances)))
    far = np.flatnonzero(np.isnan(nearest).any(axis=0))  # lines whose NEAREST images all have one label
    nearest[:, far] = _nearest_of_both(distances, is_train[far], len(distances))
    to_train, to_unseen = nearest
    total = to_train + to_unseen
    return np.divide(to_train - to_unseen, total, out=np.zeros_like(total), where=total > 0)


def _nearest_of_both(distances: np.ndarray, is_train: np.ndarray, k: int) -> np.ndarray:
    """The distances to the nearest train and the nearest unseen image among the k nearest, NaN where all of these have
    one label: (2, b)."""
    order = np.argpartition(distances, k - 1)[:k]
    order = order[np.argsort(distances[order])]
    labels, ordered = is_train[:, order], distances[order]
    of_both = np.stack([ordered[labels.argmax(axis=1)], ordered[labels.argmin(axis=1)]])
    return np.where(labels.all(axis=1) | ~labels.any(axis=1), np.nan, of_both)
