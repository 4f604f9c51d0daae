"""Intervals of distances between sets: the delete-a-group jackknife.

A bootstrap repeats images, and a repeated image makes a set look narrower than its law: Fréchet distance, recall and
coverage of such replicates are off by more than their spread. The jackknife only leaves images out.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

GROUPS = 10


class Estimates(NamedTuple):
    """k estimates, the ends of their two-sided intervals and the two-sided p-values of 0; float64 (k,) each."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def jackknife(
    statistic: Callable[[np.ndarray], np.ndarray], n: int, n_groups: int = GROUPS, level: float = 0.95
) -> Estimates:
    """Estimates with standard errors from leaving one group of rows out at a time.

    statistic: takes row numbers, int (m,), and gives k numbers (k,), NaN where one is undefined. Row i of all sets that
    it compares is left out together, so rows that belong together (two images from one prompt) stay together. n: rows
    in all; they must be independent of one another and in random order within their class. Row i belongs to group
    i mod n_groups, so rows sorted by class give every group its share of each class. The squared standard error is
    (G - 1) / G times the sum of the squared deviations of the G replicates from their mean (Kott, Journal of Official
    Statistics 17, 2001); interval and p-value are Student's on G - 1 degrees of freedom. A NaN among the replicates
    makes low, high and p NaN. Raises ValueError for fewer than two rows.
    """
    if n < 2:
        raise ValueError(f"a jackknife leaves rows out: it needs two or more, there are {n}")
    rows, n_groups = np.arange(n), min(n_groups, n)
    estimate = np.asarray(statistic(rows), float)
    replicates = np.array([statistic(rows[rows % n_groups != group]) for group in range(n_groups)], float)
    error = np.sqrt((n_groups - 1) / n_groups * ((replicates - replicates.mean(axis=0)) ** 2).sum(axis=0))
    half = stats.t.ppf((1 + level) / 2, n_groups - 1) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(estimate == 0, 0, np.abs(estimate) / error)
    p = np.where(np.isnan(error), np.nan, 2 * stats.t.sf(ratio, n_groups - 1))
    return Estimates(estimate, estimate - half, estimate + half, p)
