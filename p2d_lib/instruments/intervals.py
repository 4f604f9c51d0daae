"""Bootstrap intervals and paired differences, by lesion.

Images of one lesion resemble one another, so the lesion, not the image, is what is resampled (the cluster bootstrap:
Davison, Hinkley, Bootstrap Methods and their Application, 1997, sec. 3.8). Arrays of bootstrap replicates have shape
(1 + B,): index 0 is the statistic on the original sample, 1..B are the replicates.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


class Interval(NamedTuple):
    """An estimate and its two-sided interval, in the statistic's unit."""

    estimate: float
    low: float
    high: float


class Difference(NamedTuple):
    """A paired difference, its two-sided interval and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p: float


def resample(groups: Sequence, n_resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """How often each row occurs when groups are sampled with replacement: int (1 + n_resamples, n_rows).

    Line 0 is the original sample (all ones). A row's numbers lie beside one another in memory (Fortran's order).
    Raises ValueError when a row has no group or there is no row.
    """
    codes, names = pd.factorize(np.asarray(groups))
    if not len(names) or (codes < 0).any():
        raise ValueError(f"{(codes < 0).sum()} of {len(codes)} rows have no group (lesion_id) to resample by")
    times = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), n_resamples)
    weights = np.ones((len(codes), 1 + n_resamples), times.dtype)
    weights[:, 1:] = times.T[codes]
    return weights.T


def summarise(
    replicates: ArrayLike, level: float = 0.95, seed: int = 0, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Interval:
    """The percentile interval of a statistic's bootstrap replicates, cut to bounds.

    replicates: (1 + B,), or (n_seeds, 1 + B) of training seeds, one line a seed, on the same resamples. For the latter
    the estimate is the mean over seeds, and seeds are resampled too, crossed with the lesions.
    """
    replicates = _over_seeds(np.asarray(replicates, float), seed).clip(*bounds)
    return Interval(float(replicates[0]), *_percentiles(replicates[1:], level))


def compare(first: ArrayLike, second: ArrayLike, level: float = 0.95, seed: int = 0) -> Difference:
    """First minus second, both on the same resamples (of lesions, and of seeds where there are any).

    first, second: replicates, shaped as in `summarise`. The two-sided p-value is the share of replicates of the
    difference that lie as far from the observed difference as that lies from 0 (Hall, Wilson, Biometrics 1991, their
    first guideline; with the +1 of Davison, Hinkley 1997, sec. 4.4). NaN where the observed difference is undefined.
    With three to five seeds its level is below the nominal one, since lesions and seeds both vary.
    """
    replicates = _over_seeds(np.asarray(first, float) - np.asarray(second, float), seed)
    observed, around = replicates[0], replicates[1:][np.isfinite(replicates[1:])]
    if not np.isfinite(observed) or not len(around):
        return Difference(float(observed), np.nan, np.nan, np.nan)
    p = (1 + (np.abs(around - observed) >= abs(observed)).sum()) / (1 + len(around))
    return Difference(float(observed), *_percentiles(replicates[1:], level), float(p))


def _over_seeds(replicates: np.ndarray, seed: int) -> np.ndarray:
    """The mean over seeds on each resample, the seeds resampled for each (Owen's pigeonhole bootstrap, 2007): (1 + B,).

    Few seeds would understate their own variance by (n - 1) / n: their deviation is rescaled (Rao, Wu, JASA 1988).
    """
    if replicates.ndim == 1 or len(replicates) == 1:
        return replicates.reshape(-1)
    n_seeds, n_columns = replicates.shape
    times = np.random.default_rng(seed).multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), n_columns).T
    times[:, 0] = 1
    mean = replicates.mean(0)
    return mean + np.sqrt(n_seeds / (n_seeds - 1)) * ((times * replicates).mean(0) - mean)


def _percentiles(replicates: np.ndarray, level: float) -> tuple[float, float]:
    replicates = replicates[np.isfinite(replicates)]
    if not len(replicates):
        return np.nan, np.nan
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
