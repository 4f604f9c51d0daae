"""Bootstrap intervals and paired differences, by lesion.

Images of one lesion resemble one another, so the lesion, not the image, is what is resampled (the cluster bootstrap:
Davison, Hinkley, Bootstrap Methods and their Application, 1997, sec. 3.8). Arrays of bootstrap replicates have shape
(1 + B,): index 0 is the statistic on the original sample, 1..B are the replicates.
"""

from collections.abc import Callable, Sequence
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
    """A difference of two arms, its two-sided interval and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p: float


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    groups: Sequence,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """A statistic with its percentile interval, whole groups (lesions) resampled.

    statistic: takes an array of row numbers (n,), with repeats, and gives a number; NaN where it is undefined. groups:
    the group of each row (n,). Resamples with NaN are left out of the interval. Raises ValueError without groups.
    """
    return summarise(_draws(statistic, resample(groups, n_resamples, seed)), level)


def resample(groups: Sequence, n_resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """How often each row is drawn when groups are drawn with replacement: int (1 + n_resamples, n_rows).

    Its first line is the sample itself (all ones). Raises ValueError when a group is missing or there is none.
    """
    codes, names = pd.factorize(np.asarray(groups))
    if not len(names) or (codes < 0).any():
        raise ValueError(f"{(codes < 0).sum()} of {len(codes)} rows have no group (lesion_id) to resample by")
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), n_resamples)
    return np.vstack([np.ones(len(codes), drawn.dtype), drawn[:, codes]])


def summarise(
    draws: ArrayLike, level: float = 0.95, seed: int = 0, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Interval:
    """The interval of a resampled statistic that lies within bounds.

    draws: (1 + n_resamples,), or (n_seeds, 1 + n_resamples) of paired training seeds, on the same resamples. Then the
    estimate is the mean over seeds and the seeds are resampled too, crossed with the lesions.
    """
    draws = _over_seeds(np.asarray(draws, float), seed).clip(*bounds)
    return Interval(float(draws[0]), *_percentiles(draws[1:], level))


def compare(first: ArrayLike, second: ArrayLike, level: float = 0.95, seed: int = 0) -> Difference:
    """First minus second, both resampled alike (lesions, and seeds where there are any; shapes as in `summarise`).

    The p-value is the share of resampled differences that lie as far from the observed one as that lies from 0
    (Hall, Wilson, Biometrics 1991, their first guideline; with the +1 of Davison, Hinkley 1997, sec. 4.4).
    """
    draws = _over_seeds(np.asarray(first, float) - np.asarray(second, float), seed)
    observed, around = draws[0], draws[1:][np.isfinite(draws[1:])]
    if not np.isfinite(observed) or not len(around):
        return Difference(float(observed), np.nan, np.nan, np.nan)
    p = (1 + (np.abs(around - observed) >= abs(observed)).sum()) / (1 + len(around))
    return Difference(float(observed), *_percentiles(draws[1:], level), float(p))


def _draws(statistic: Callable[[np.ndarray], float], weights: np.ndarray) -> np.ndarray:
    rows = np.arange(weights.shape[1])
    return np.array([statistic(np.repeat(rows, times)) for times in weights], float)


def _over_seeds(draws: np.ndarray, seed: int) -> np.ndarray:
    """The mean over seeds on each resample, with seeds drawn anew for each (Owen's pigeonhole bootstrap, 2007).

    Few seeds would understate their own variance by (n - 1) / n: their deviation is rescaled (Rao, Wu, JASA 1988).
    """
    if draws.ndim == 1 or len(draws) == 1:
        return draws.reshape(-1)
    n_seeds, n_draws = draws.shape
    drawn = np.random.default_rng(seed).multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), n_draws).T
    drawn[:, 0] = 1
    mean = draws.mean(0)
    return mean + np.sqrt(n_seeds / (n_seeds - 1)) * ((drawn * draws).mean(0) - mean)


def _percentiles(draws: np.ndarray, level: float) -> tuple[float, float]:
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return np.nan, np.nan
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
