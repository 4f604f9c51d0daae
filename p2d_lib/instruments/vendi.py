"""The Vendi score: how many different images a set holds, in effect.

Friedman, Dieng, "The Vendi Score", TMLR 2023, arXiv 2210.02410. It never looks at real images, so it is read beside the
score of as many real images of the same classes: a lower score means less variety. Noise has a high score too.
"""

import numpy as np

from p2d_lib.instruments.mmd import unit_rows


def vendi(features: np.ndarray) -> float:
    """Effective number of images, 1..n: exp of the entropy of the eigenvalues of K / n, K the cosines of rows (n, d).

    k groups of equally many equal images, at right angles to one another, have the score k. It grows with n, so sets
    are compared at equal n. Raises ValueError without a row and for a row of length 0.
    """
    if not len(features):
        raise ValueError("the Vendi score needs an image, there is none")
    rows = unit_rows(features)
    smaller = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows  # both have the same eigenvalues but 0
    shares = np.linalg.eigvalsh(smaller / len(rows)).clip(min=0)
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
