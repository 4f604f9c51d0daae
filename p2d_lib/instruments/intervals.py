"""Bootstrap intervals and paired differences, by lesion.

Images of one lesion resemble one another, so the lesion, not the image, is what is resampled (the cluster bootstrap:
Davison, Hinkley, Bootstrap Methods and their Application, 1997, sec. 3.8). Arrays of bootstrap replicates have shape
(1 + B,): index 0 is the statistic on the original sample, 1..B are the replicates.

A replicate is NaN where its resample lacks what the statistic needs, such as a class. It is not left out, which would
narrow the interval: it counts as lying below the lower end and above the upper end, and as far from 0 as the observed
difference. So with 2.5 % of undefined replicates a 95 % interval reaches the bounds of its statistic.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

FEWEST = 10  # groups (lesions); tables print no interval and no test of fewer


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
    Raises ValueError when a row has no group or there are fewer than two groups.
    """
    codes, names = pd.factorize(np.asarray(groups))
    if (codes < 0).any():
        raise ValueError(f"{(codes < 0).sum()} of {len(codes)} rows have no group (lesion_id) to resample by")
    if len(names) < 2:
        raise ValueError(f"resampling needs two groups (lesions) or more, there are {len(names)}: nothing would vary")
    times = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), n_resamples)
    weights = np.ones((len(codes), 1 + n_resamples), times.dtype)
    weights[:, 1:] = times.T[codes]
    return weights.T


def summarise(
    replicates: ArrayLike, level: float = 0.95, seed: int = 0, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Interval:
    """The percentile interval of a statistic's bootstrap replicates, cut to bounds.

    replicates: (1 + B,), or (n_seeds, 1 + B) of training seeds, one line a seed, on the same resamples. For the latter
    the estimate is the mean over seeds, and seeds are resampled too, crossed with the lesions. bounds: the least and
    the greatest value that the statistic can have. Few lesions make percentile intervals too narrow: of a share of 0.7
    they cover 93 % at 60 lesions, 92 % at 30 and 91 % at 10; of one of 0.9 they cover 91, 88 and 79 %.
    """
    replicates = _over_seeds(np.asarray(replicates, float), seed).clip(*bounds)
    return Interval(float(replicates[0]), *_percentiles(replicates[1:], level, bounds))


def compare(first: ArrayLike, second: ArrayLike, level: float = 0.95, seed: int = 0) -> Difference:
    """First minus second, both on the same resamples (of lesions, and of seeds where there are any).

    first, second: replicates, shaped as in `summarise`. The two-sided p-value is the share of replicates of the
    difference that lie as far from the observed difference as that lies from 0 (Hall, Wilson, Biometrics 1991, their
    first guideline; with the +1 of Davison, Hinkley 1997, sec. 4.4). NaN where the observed difference is undefined.
    With three to five seeds its level is below the nominal one. It is 1 to 2 %, and intervals cover 98 to 99 %, where
    seeds differ by chance in single images alone, since resampling lesions and seeds counts that scatter more than
    once; intervals cover 92 to 97 % where the skill that a seed gives varies more.
    """
    replicates = _over_seeds(np.asarray(first, float) - np.asarray(second, float), seed)
    observed, around = replicates[0], replicates[1:]
    if not np.isfinite(observed) or not np.isfinite(around).any():
        return Difference(float(observed), np.nan, np.nan, np.nan)
    nearer = np.abs(around - observed) < abs(observed)  # False where undefined
    p = (1 + (~nearer).sum()) / (1 + len(around))
    return Difference(float(observed), *_percentiles(around, level, (-np.inf, np.inf)), float(p))


def minimal_detectable(
    first: ArrayLike, second: ArrayLike, level: float = 0.95, power: float = 0.8, seed: int = 0
) -> float:
    """The true difference that `compare` would call different from 0 with this power, in the statistic's unit.

    first, second: replicates, as in `compare`. It is z((1 + level) / 2) + z(power) standard errors of the paired
    difference, 2.8 for the defaults; the standard error is the standard deviation of the replicates that are defined.
    It belongs to a single test: after a correction for several tests the difference that is detected is larger. NaN
    where fewer than two replicates are defined.
    """
    replicates = _over_seeds(np.asarray(first, float) - np.asarray(second, float), seed)[1:]
    defined = replicates[np.isfinite(replicates)]
    if len(defined) < 2:
        return float("nan")
    return float((norm.ppf((1 + level) / 2) + norm.ppf(power)) * defined.std(ddof=1))


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


def _percentiles(replicates: np.ndarray, level: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """The ends of the interval; an undefined replicate counts as lying at either bound."""
    undefined = ~np.isfinite(replicates)
    if undefined.all():
        return np.nan, np.nan
    lower, upper = (np.where(undefined, bound, replicates) for bound in bounds)
    method = ("lower", "higher") if undefined.any() else ("linear", "linear")  # no mean of a number and a bound
    low, high = (
        np.quantile(lower, (1 - level) / 2, method=method[0]),
        np.quantile(upper, (1 + level) / 2, method=method[1]),
    )
    return float(low), float(high)
