"""The Inception Score: are images recognisable one by one, and of many classes together?

Salimans et al., NeurIPS 2016, arXiv 1606.03498. It never looks at real images, so a set that shows ImageNet's classes
scores high and a perfect set of skin lesions need not: it is descriptive, and of use beside the score of real images.
"""

from typing import NamedTuple

import numpy as np


class InceptionScore(NamedTuple):
    """Mean and standard deviation over splits, both in 1..k; the deviation is 0 for one split."""

    mean: float
    deviation: float


def inception_score(probabilities: np.ndarray, n_splits: int = 1) -> InceptionScore:
    """exp(mean KL(p(y | x) || p(y))) of class probabilities (n, k) with rows that sum to 1.

    n_splits: the rows are cut into so many parts, row i into part i mod n_splits, and each part has its own p(y). The
    field prints 10 splits of 5,000 images; a split of m images cannot score above m, so use one split for small sets,
    and compare at equal n. Raises ValueError for rows that are no probabilities and for more splits than rows.
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or not (p >= 0).all() or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        raise ValueError("the Inception Score takes one row of class probabilities an image, each with a sum of 1")
    if not 1 <= n_splits <= len(p):
        raise ValueError(f"{len(p)} images cannot be cut into {n_splits} splits: choose 1 to {len(p)}")
    scores = [_score(p[split::n_splits]) for split in range(n_splits)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _score(p: np.ndarray) -> float:
    """The score of one part: the exponential of the mutual information between image and class."""
    return float(np.exp(_entropy(p.mean(axis=0)) - _entropy(p).mean()))


def _entropy(p: np.ndarray) -> np.ndarray:
    """Shannon entropy in nats along the last axis, with 0 log 0 = 0."""
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1)
