"""Intervals of distances between sets: the delete-a-group jackknife.

A bootstrap repeats images, and a repeated image makes a set look narrower than its law: Fréchet distance, recall and
coverage of such replicates are off by more than their spread. The jackknife only leaves images out.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats

GROUPS = 10


def jackknife(
    statistic: Callable[[np.ndarray], np.ndarray], n: int, n_groups: int = GROUPS, level: float = 0.95
) -> np.ndarray:
    """Estimates with their two-sided intervals: float64 (k, 3), columns estimate, low, high.

    statistic: takes row numbers, int (m,), and gives k numbers (k,), NaN where one is undefined. Row i of all sets that
    it compares is left out together, so rows that belong together (a pair of images from one prompt) keep together.
    n: rows in all; they must be independent of one another and in random order within their class. Row i belongs to
    group i mod n_groups, so rows sorted by class give every group its share of each class. The replicate of a group is
    the statistic without it, the squared standard error (G - 1) / G times the sum of the replicates' squared deviations
    (Kott, Journal of Official Statistics 17, 2001), the interval Student's on G - 1 degrees of freedom. Low and high
    are NaN where a replicate is. Raises ValueError for fewer than two rows.
    """
    if n < 2:
        raise ValueError(f"a jackknife leaves rows out: it needs two or more, there are {n}")
    rows, n_groups = np.arange(n), min(n_groups, n)
    estimate = np.asarray(statistic(rows), float)
    replicates = np.array([statistic(rows[rows % n_groups != group]) for group in range(n_groups)], float)
    variance = (n_groups - 1) / n_groups * ((replicates - replicates.mean(axis=0)) ** 2).sum(axis=0)
    half = stats.t.ppf((1 + level) / 2, n_groups - 1) * np.sqrt(variance)
    return np.column_stack([estimate, estimate - half, estimate + half])
