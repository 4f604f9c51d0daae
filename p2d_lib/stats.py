"""Statistics of all stages: intervals over lesions, paired tests, Holm's correction, scores of a reading.

Images of one lesion resemble one another, so the lesion, not the image, is what is resampled (the cluster bootstrap:
Davison, Hinkley, Bootstrap Methods and their Application, 1997, sec. 3.8). Every resampled array below carries the
sample itself in its first place and the resamples after it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn import metrics
from statsmodels.stats.multitest import multipletests

from p2d_lib.vocabulary import DX

SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "auc")


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


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's adjusted p-values, in the order given; a NaN stays NaN and is not counted as a test."""
    p_values = np.asarray(p_values, float)
    adjusted, known = np.full(p_values.shape, np.nan), np.isfinite(p_values)
    if known.any():
        adjusted[known] = multipletests(p_values[known], method="holm")[1]
    return adjusted


def scores(dx: Sequence[str], dx_read: Sequence[str], p: ArrayLike | None = None) -> dict[str, float]:
    """What a reading is worth: accuracy, balanced_accuracy, macro_f1 and auc, each in 0..1.

    dx, dx_read: true and read diagnoses (n,). p: probabilities (n, 7) in the order of `vocabulary.DX`; without them,
    or with a NaN among them, auc is NaN. Means over classes run over the classes that occur in dx; auc is the mean of
    one class against the rest over those of them that have a rest. Raises ValueError for an unknown diagnosis.
    """
    truth, read = _codes(dx), _codes(dx_read)
    present = np.unique(truth)
    p = np.full((len(truth), len(DX)), np.nan) if p is None else np.asarray(p, float)
    areas = len(present) > 1 and not np.isnan(p).any()
    one_vs_rest = [metrics.roc_auc_score(truth == k, p[:, k]) for k in present] if areas else []
    return {
        "accuracy": metrics.accuracy_score(truth, read),
        "balanced_accuracy": metrics.recall_score(truth, read, labels=present, average="macro", zero_division=0),
        "macro_f1": metrics.f1_score(truth, read, labels=present, average="macro", zero_division=0),
        "auc": float(np.mean(one_vs_rest)) if one_vs_rest else float("nan"),
    }


def resampled_scores(
    dx: Sequence[str], dx_read: Sequence[str], p: ArrayLike | None, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """`scores` on many resamples at once: {score: (len(weights),)}.

    weights: `resample` of the rows' lesions. Equal to scores on the repeated rows, some hundred times faster: confusion
    matrices are one product with the weights, and areas are weighted rank sums over an order sorted once.
    """
    truth, read, weights = _codes(dx), _codes(dx_read), np.asarray(weights, float)
    cells = np.eye(len(DX) ** 2)[truth * len(DX) + read]
    confusion = (weights @ cells).reshape(-1, len(DX), len(DX))  # of true x read
    right, true, said = np.einsum("bkk->bk", confusion), confusion.sum(2), confusion.sum(1)
    present = true > 0
    with np.errstate(invalid="ignore"):
        recall, f1 = right / true, 2 * right / (true + said)
    p = np.full((len(truth), len(DX)), np.nan) if p is None else np.asarray(p, float)
    areas = np.full(present.shape, np.nan)
    for k in np.unique(truth) if not np.isnan(p).any() else ():
        areas[:, k] = weighted_auc(truth == k, p[:, k], weights)
    return {
        "accuracy": right.sum(1) / true.sum(1),
        "balanced_accuracy": _mean_where(recall, present),
        "macro_f1": _mean_where(f1, present),
        "auc": _mean_where(areas, np.isfinite(areas)),
    }


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


def _codes(dx: Sequence[str]) -> np.ndarray:
    codes = pd.Index(DX).get_indexer(np.asarray(dx, object))
    if (codes < 0).any():
        unknown = np.asarray(dx, object)[codes < 0][0]
        raise ValueError(f"{unknown!r} is no diagnosis; expected one of {', '.join(DX)}")
    return codes


def _mean_where(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(where, values, 0).sum(1) / where.sum(1)


def weighted_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mann-Whitney's area with rows repeated as weights (b, n) say; NaN where a side is empty: (b,)."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))  # rows of one score share a rank
    sorted_weights = weights[:, order]
    up = np.add.reduceat(sorted_weights * positive[order], starts, axis=1)
    down = np.add.reduceat(sorted_weights * ~positive[order], starts, axis=1)
    with np.errstate(invalid="ignore"):
        return (up * (down.cumsum(1) - down / 2)).sum(1) / (up.sum(1) * down.sum(1))
