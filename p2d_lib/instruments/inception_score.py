"""The Inception Score: are images recognisable one by one, and of many classes together?

Salimans et al., NeurIPS 2016, arXiv 1606.03498. It never looks at real images, so a set that shows ImageNet's classes
scores high and a perfect set of skin lesions need not: it is descriptive, and of use beside the score of real images.
"""

import numpy as np


def inception_score(probabilities: np.ndarray) -> float:
    """exp(mean KL(p(y | x) || p(y))) of class probabilities (n, k) with rows that sum to 1: 1..min(n, k).

    The field prints the mean of 10 splits of 5,000 images, each with its own p(y); a set of m images cannot score above
    m, so small sets are not split: compare at equal n. Raises ValueError for rows that are no probabilities.
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or not (p >= 0).all() or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        raise ValueError("the Inception Score takes one row of class probabilities an image, each with a sum of 1")
    return float(np.exp(_entropy(p.mean(axis=0)) - _entropy(p).mean()))


def _entropy(p: np.ndarray) -> np.ndarray:
    """Shannon entropy in nats along the last axis, with 0 log 0 = 0."""
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1)
