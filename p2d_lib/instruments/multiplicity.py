"""Many tests announced together: the level of verdicts, and Holm's correction."""

import numpy as np
from numpy.typing import ArrayLike

LEVEL = 0.05  # a corrected p-value up to here is announced as a difference


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's adjusted p-values (Scand J Stat 1979), float (n,), in the order given.

    p_values: (n,) in 0..1, all tests whose verdicts are announced together. Announcing those with an adjusted p of at
    most 0.05 makes any false announcement at all in at most 5 % of studies. A NaN stays NaN and is no test.
    """
    p_values = np.asarray(p_values, float)
    adjusted, known = np.full(p_values.shape, np.nan), np.isfinite(p_values)
    if known.any():
        order = np.argsort(p_values[known])
        stepped = np.maximum.accumulate(p_values[known][order] * np.arange(known.sum(), 0, -1)).clip(max=1)
        adjusted[known] = stepped[np.argsort(order)]  # statsmodels collects all garbage at every call: 0.4 s with torch
    return adjusted
