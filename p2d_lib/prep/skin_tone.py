"""Whether the diagnosis is tied to skin tone, and how far two ways to measure that tone disagree."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from p2d_lib.instruments.intervals import Interval, resample

ITA_CATEGORIES = ("dark", "brown", "tan", "intermediate", "light", "very light")
ITA_EDGES = (-np.inf, -30, 10, 28, 41, 55, np.inf)  # degrees, of these
AT_ONCE = 100  # resamples whose ranks are in memory together


class ToneAssociation(NamedTuple):
    """How far dx is tied to tone over n lesions: epsilon squared, and p of no tie."""

    epsilon2: Interval
    p: float
    n: int


def tone_association(cases: pd.DataFrame, tone: str = "ita", n_resamples: int = 1000, seed: int = 0) -> ToneAssociation:
    """Is the diagnosis tied to skin tone? The share of the variance of tone's ranks that dx explains, over lesions.

    tone: a column of cases, NaN unknown (ita; true_fitzpatrick on the phantom); a lesion has the median of its images.
    The share is H / (n - 1) of Kruskal & Wallis (JASA 1952) freed of what chance explains: epsilon squared (Kelley,
    PNAS 1935), 0 without association on average, 1 when tone decides. Its 95 % interval is the bootstrap's over
    lesions, less its bias; p comes from permuting dx. Raises ValueError unless two dx have a known tone.
    """
    known = cases.dropna(subset=tone).groupby("lesion_id").agg({"dx": "first", tone: "median"})
    codes, names = pd.factorize(known["dx"], sort=True)
    if len(names) < 2:
        raise ValueError(f"{tone} is known of {len(names)} dx; an association needs two")
    values, rng = known[tone].to_numpy(float), np.random.default_rng(seed)
    weights = resample(known.index, n_resamples, seed=seed)
    parts = [_rank_sums(values, codes, weights[k : k + AT_ONCE]) for k in range(0, len(weights), AT_ONCE)]
    counts, sums, squares = map(np.concatenate, zip(*parts, strict=True))
    replicates, ranks = _epsilon2(counts, sums, squares), stats.rankdata(values)
    permuted_sums = np.array([np.bincount(rng.permutation(codes), ranks) for _ in range(n_resamples)])
    permuted = _epsilon2(counts[:1], permuted_sums, squares[:1])
    bias = replicates[1:].mean() - replicates[0]
    low, high = (np.quantile(replicates[1:], (0.025, 0.975)) - bias).clip(0, 1)
    p = (1 + (permuted >= replicates[0]).sum()) / (1 + n_resamples)
    return ToneAssociation(Interval(float(replicates[0]), float(low), float(high)), float(p), len(known))


def _rank_sums(values: np.ndarray, codes: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of samples in which values (n,) with their codes occur so many times (b, n): how many there are of each code and
    the sum of their ranks (b, k), and the sum of squares of all ranks about their mean (b,). Equal values share a rank.
    """
    order = np.argsort(values, kind="stable")
    times, first = times[:, order], np.flatnonzero(np.diff(values[order], prepend=-np.inf))
    equal = np.add.reduceat(times, first, axis=1)
    ranks = np.repeat(equal.cumsum(1) - (equal - 1) / 2, np.diff(first, append=len(values)), axis=1)
    is_code = np.eye(codes.max() + 1)[codes[order]]
    squares = (times * (ranks - (times.sum(1, keepdims=True) + 1) / 2) ** 2).sum(1)
    return times @ is_code, (times * ranks) @ is_code, squares


def _epsilon2(counts: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Epsilon squared of samples (b,), of what `_rank_sums` gives; 0 where all values are equal."""
    n, known = counts.sum(1), counts > 0
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=known)
    within = squares - (counts * (means - (n[:, None] + 1) / 2) ** 2).sum(1)
    with np.errstate(invalid="ignore"):
        return np.where(squares, 1 - (within / (n - known.sum(1))) / (squares / (n - 1)), 0.0)


def ita_category(ita: pd.Series) -> pd.Series:
    """ITA_CATEGORIES of angles in degrees: Del Bino, Bernerd, Br J Dermatol 169(s3), 2013."""
    return pd.cut(ita, ITA_EDGES, labels=ITA_CATEGORIES)


def ita_disagreement(cases: pd.DataFrame) -> float:
    """Share (0..1) of images that two methods (columns ita and ita_patches, degrees) put into different categories.

    Of the images where both have an angle; NaN where there are none.
    """
    both = cases[["ita", "ita_patches"]].dropna()
    return float((ita_category(both["ita"]).astype(str) != ita_category(both["ita_patches"]).astype(str)).mean())
