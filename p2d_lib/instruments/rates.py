"""Intervals of rates."""

import numpy as np
from scipy import stats


def exact_interval(k: int, n: int) -> tuple[float, float]:
    """The 95 % interval of Clopper and Pearson (Biometrika 26, 1934) of a rate of k in n; NaN for n = 0."""
    if not n:
        return np.nan, np.nan
    low, high = stats.binomtest(k, n).proportion_ci(method="exact")
    return float(low), float(high)
