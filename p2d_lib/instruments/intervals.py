"""Bootstrap intervals and paired differences, by lesion.

Images of one lesion resemble one another, so the lesion, not the image, is what is resampled (the cluster bootstrap:
Davison, Hinkley, Bootstrap Methods and their Application, 1997, sec. 3.8). Arrays of bootstrap replicates have shape
(1 + B,): index 0 is the statistic on the original sample, 1..B are the replicates.

A replicate is NaN where its resample lacks what the statistic needs, such as a class. It is not left out, which would
narrow the interval: it counts as lying below the lower end and above the upper end, and as far from 0 as the observed
difference. So with 2.5 % of undefined replicates a 95 % interval reaches the bounds of its statistic.

Where trainings of several seeds read the same lesions, an interval is about other lesions and other seeds: seeds are to
lesions what readers are to cases in multi-reader studies. Each seed differs from the mean by its skill and by its luck
on these very lesions. The spread of the seeds holds both, so luck is taken out of the spread over lesions, where it
would be counted a second time (the variance of Obuchowski, Rockette, Communications in Statistics 24, 1995, and of
Hillis, Statistics in Medicine 26, 2007).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import chi2, norm
from scipy.stats import t as student

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


def resample(groups: Sequence, n_resamples: int = 1000, *, seed: int) -> np.ndarray:
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
    the estimate is the mean over seeds, and the interval is about other seeds too. Few lesions make percentile
    intervals too narrow: of a share of 0.7 they cover 93 % at 60 lesions, 92 % at 30 and 91 % at 10; of one of 0.9 they
    cover 91, 88 and 79 %. bounds: the least and the greatest value that the statistic can have.
    """
    replicates = _over_seeds(np.asarray(replicates, float), seed).clip(*bounds)
    return Interval(float(replicates[0]), *_percentiles(replicates[1:], level, bounds))


def compare(first: ArrayLike, second: ArrayLike, level: float = 0.95, seed: int = 0) -> Difference:
    """First minus second, both on the same resamples (of lesions, and of seeds where there are any).

    first, second: replicates, shaped as in `summarise`. The two-sided p-value is the share of replicates of the
    difference that lie as far from the observed difference as that lies from 0 (Hall, Wilson, Biometrics 1991, their
    first guideline; with the +1 of Davison, Hinkley 1997, sec. 4.4). NaN where the observed difference is undefined.
    Its intervals cover 93 to 97 %, with three or five seeds that differ in skill or by luck alone.
    """
    replicates = _over_seeds(np.asarray(first, float) - np.asarray(second, float), seed)
    observed, around = replicates[0], replicates[1:]
    if not np.isfinite(observed) or not np.isfinite(around).any():
        return Difference(float(observed), np.nan, np.nan, np.nan)
    nearer = np.abs(around - observed) < abs(observed)  # False where undefined
    p = (1 + (~nearer).sum()) / (1 + len(around))
    return Difference(float(observed), *_percentiles(around, level, (-np.inf, np.inf)), float(p))


def minimal_detectable(first: ArrayLike, second: ArrayLike, level: float = 0.95, power: float = 0.8) -> float:
    """The true difference that `compare` would call different from 0 with this power, in the statistic's unit.

    first, second: replicates, as in `compare`. level: of one test at 1 - level: for several tests that are corrected
    together it is 1 - 0.05 / n_tests, the first step of Holm's correction. A study to come estimates the spread of its
    seeds anew, and few seeds give it by chance too large or too small. 2.8 standard errors for the defaults and one
    seed; with seeds that differ in skill up to 3.7 for five and 5.5 for three (11 at a level of 0.9875). In simulation
    the middle of what studies of three or five seeds give is found in 79 to 83 %; what one study gives scatters, with
    three seeds to half or twice as much. NaN where fewer than two replicates are defined.
    """
    replicates = np.atleast_2d(np.asarray(first, float) - np.asarray(second, float))
    mean = replicates.mean(0)[1:]
    if np.isfinite(mean).sum() < 2:
        return float("nan")
    spread, degrees = _Spread.of(replicates), len(replicates) - 1
    tail, seeds = (1 - level) / 2, 0.0
    if degrees:
        seeds = max(spread.seeds * degrees / chi2.median(degrees), spread.luck)  # half of all studies see less of it
    error = np.sqrt(spread.lesions_alone + seeds)
    if not seeds:
        return float((norm.ppf(power) - norm.ppf(tail)) * error)
    to_come = np.sqrt(seeds * chi2.ppf((np.arange(25) + 0.5) / 25, degrees) / degrees)
    of_seeds = student.ppf((np.arange(400) + 0.5) / 400, degrees)[:, None] * to_come
    lesions = np.sqrt(max(spread.lesions_alone, 1e-6 * seeds))
    low, high = np.zeros(25), of_seeds[-1] + 9 * lesions
    for _ in range(40):  # halves the distance to what `compare` calls different from 0 in each study to come
        needed = (low + high) / 2
        beyond = norm.sf((needed - of_seeds) / lesions).mean(0) > tail
        low, high = np.where(beyond, needed, low), np.where(beyond, high, needed)
    return float(brentq(lambda size: norm.cdf((size - needed) / error).mean() - power, 0, high.max() + 9 * error))


def _over_seeds(replicates: np.ndarray, seed: int) -> np.ndarray:
    """The mean over seeds on each resample, spread as it would be with other seeds too: (1 + B,)."""
    if replicates.ndim == 1 or len(replicates) == 1:
        return replicates.reshape(-1)
    mean, spread = replicates.mean(0), _Spread.of(replicates)
    kept = np.sqrt(spread.lesions_alone / spread.lesions) if spread.lesions else 1.0
    n = len(mean) - 1
    quantiles = student.ppf((np.arange(n) + 0.5) / n, len(replicates) - 1)
    away = np.append(0, np.sqrt(spread.seeds) * np.random.default_rng(seed).permutation(quantiles))
    return mean[0] + kept * (mean - mean[0]) + away


class _Spread(NamedTuple):
    """Of n_seeds replicates (n_seeds, 1 + B): variances of a mean over seeds.

    lesions: of the choice of lesions, with the seeds' luck on them. luck: the part of it that is luck, which is how far
    a seed moves from the mean of all seeds between resamples. seeds: of the choice of seeds, their luck included.
    """

    lesions: float
    luck: float
    seeds: float

    @classmethod
    def of(cls, replicates: np.ndarray) -> "_Spread":
        n_seeds = len(replicates)
        defined = replicates[:, 1:][:, np.isfinite(replicates[:, 1:]).all(0)]
        lesions = defined.mean(0).var() if defined.size else 0.0
        if n_seeds == 1:
            return cls(float(lesions), 0.0, 0.0)
        luck = (defined - defined.mean(0)).var(1).sum() / (n_seeds - 1) / n_seeds if defined.size else 0.0
        return cls(float(lesions), float(luck), float(replicates[:, 0].var(ddof=1) / n_seeds))

    @property
    def lesions_alone(self) -> float:
        return max(0.0, self.lesions - self.luck)


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
