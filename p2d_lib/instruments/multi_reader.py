"""Multi-reader multi-case analysis: do treatments differ for readers and cases other than those of the study?

The analysis of variance of Obuchowski and Rockette (Commun Stat Simul Comput 24, 1995) with the degrees of freedom of
Hillis (Stat Med 26, 2007). A treatment is whatever the same readers read with, or on: an imaging method, support by a
network, real against synthetic images. Readers and cases are random unless they are declared fixed: a result then holds
for these readers, or these cases, alone.

Where both are random, a mean square of readers is taken as no smaller than what readers without any difference have: of
two or three readers it may be far smaller by chance, and the plain analysis would call 11 or 8 % of studies at chance
better or worse than it. With it these are 1 and 4 %, of five readers 5 %; it leaves the published examples as they are.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

RANDOM, FIXED = "random", "fixed"
LEVEL = 0.95  # of intervals
ROUNDING = 1e-12  # of scores: what is below is none


class Scores(NamedTuple):
    """A score of each treatment and reader, and its covariances: float (t, r) and (t, r, t, r)."""

    estimates: np.ndarray
    covariance: np.ndarray


class Components(NamedTuple):
    """Mean squares of the scores, and means of their covariances over the cases.

    treatment, reader, interaction: mean squares; NaN where there is one treatment or one reader. error: variance of a
    score. cov1: covariance of one reader's scores with two treatments; cov2: of two readers with one treatment; cov3:
    of two readers with two treatments.
    """

    treatment: float
    reader: float
    interaction: float
    error: float
    cov1: float
    cov2: float
    cov3: float


class Analysis(NamedTuple):
    """What `analyse` gives.

    statistic, df1, df2, p: test that all treatments are equal: F, or chi-square where readers are fixed (df2 inf).
    differences: a row for each pair: first, second, difference, error, df, low, high, p. means: a row for each
    treatment, from its own data alone: treatment, estimate, error, df, low, high. df is inf for normal intervals.
    """

    components: Components
    statistic: float
    df1: float
    df2: float
    p: float
    differences: pd.DataFrame
    means: pd.DataFrame


def analyse(scores: Scores, readers: str = RANDOM, cases: str = RANDOM) -> Analysis:
    """Tests and intervals of scores from `multi_reader_scores`.

    readers, cases: RANDOM or FIXED. Treatments are named 1, 2 … One treatment gives its mean alone; one reader must be
    fixed. Intervals of means are cut to 0..1. A test without any variance has p 1 where there is no difference and NaN
    where there is one. Raises ValueError when both are fixed, or one reader is declared random.
    """
    n_treatments, n_readers = scores.estimates.shape
    if readers == FIXED and cases == FIXED:
        raise ValueError("readers and cases are both fixed: nothing varies that could be tested")
    if n_readers == 1 and readers == RANDOM:
        raise ValueError("one reader cannot stand for others: declare readers as fixed")
    parts = components(scores)
    denominator, df = _error_of_differences(parts, n_treatments, n_readers, readers, cases)
    statistic, df1, df2, p = np.nan, np.nan, np.nan, np.nan
    if n_treatments > 1:
        spread = n_readers * scores.estimates.mean(1).var(ddof=1)
        df1, df2 = n_treatments - 1, df
        statistic = _ratio(spread, denominator)
        p = 1.0 if spread == 0 else float(stats.f.sf(statistic, df1, df2)) if np.isfinite(df2) else np.nan
        if readers == FIXED:
            statistic, df2 = statistic * df1, np.inf
            p = 1.0 if spread == 0 else float(stats.chi2.sf(statistic, df1))
    names = [str(k + 1) for k in range(n_treatments)]
    error = np.sqrt(2 / n_readers * denominator) if n_treatments > 1 else np.nan
    return Analysis(
        parts, statistic, df1, df2, p,
        _differences(scores.estimates.mean(1), error, np.inf if readers == FIXED else df, names),
        _means(scores, readers, cases, names),
    )  # fmt: skip


def components(scores: Scores) -> Components:
    """The variance components of scores, from all treatments and readers."""
    n_treatments, n_readers = scores.estimates.shape
    grand, of_treatments, of_readers = (scores.estimates.mean(axis) for axis in (None, 1, 0))
    rest = scores.estimates - of_treatments[:, None] - of_readers[None] + grand
    rest[np.abs(rest) < ROUNDING] = 0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_squares = (
            n_readers * ((of_treatments - grand) ** 2).sum() / np.float64(n_treatments - 1),
            n_treatments * ((of_readers - grand) ** 2).sum() / np.float64(n_readers - 1),
            (rest**2).sum() / np.float64((n_treatments - 1) * (n_readers - 1)),
        )
    size = n_treatments * n_readers
    covariance = scores.covariance.reshape(size, size)
    treatment, reader = np.divmod(np.arange(size), n_readers)
    same_treatment, same_reader = (np.equal.outer(codes, codes) for codes in (treatment, reader))
    covariances = [
        covariance[where].mean() if where.any() else 0.0
        for where in (~same_treatment & same_reader, same_treatment & ~same_reader, ~same_treatment & ~same_reader)
    ]
    return Components(*(float(v) for v in (*mean_squares, np.diag(covariance).mean(), *covariances)))


def _error_of_differences(
    parts: Components, n_treatments: int, n_readers: int, readers: str, cases: str
) -> tuple[float, float]:
    """The denominator of the F statistic and its degrees of freedom."""
    if n_treatments == 1:
        return np.nan, np.nan
    df = float((n_treatments - 1) * (n_readers - 1))
    if cases == FIXED:
        return parts.interaction, df
    if readers == FIXED:
        shared = (n_readers - 1) * (parts.cov2 - parts.cov3)
        return max(parts.error - parts.cov1 + shared, 0), np.inf
    shared = max(parts.cov2 - parts.cov3, 0)
    interaction = max(parts.interaction, parts.error - parts.cov1 - shared)
    denominator = interaction + n_readers * shared
    return denominator, df * _ratio(denominator, interaction) ** 2


def _differences(means: np.ndarray, error: float, df: float, names: list[str]) -> pd.DataFrame:
    rows = []
    for first, second in combinations(range(len(means)), 2):
        difference = float(means[first] - means[second])
        half = _half(error, df)
        t = _ratio(abs(difference), error)
        p = 1.0 if difference == 0 else 2 * stats.t.sf(t, df) if error > 0 else np.nan
        rows.append((names[first], names[second], difference, error, df, difference - half, difference + half, p))
    return pd.DataFrame(rows, columns=["first", "second", "difference", "error", "df", "low", "high", "p"])


def _means(scores: Scores, readers: str, cases: str, names: list[str]) -> pd.DataFrame:
    rows, n_readers = [], scores.estimates.shape[1]
    for k, name in enumerate(names):
        parts = components(Scores(scores.estimates[k : k + 1], scores.covariance[k : k + 1, :, k : k + 1]))
        shared = max(parts.cov2, 0)
        if readers == FIXED:
            variance, df = (parts.error + (n_readers - 1) * shared) / n_readers, np.inf
        elif cases == FIXED:
            variance, df = parts.reader / n_readers, n_readers - 1
        else:
            reader = max(parts.reader, parts.error - shared)
            variance = reader / n_readers + shared
            df = (n_readers - 1) * _ratio(n_readers * variance, reader) ** 2
        estimate, error = float(scores.estimates[k].mean()), float(np.sqrt(variance))
        half = _half(error, df)
        rows.append((name, estimate, error, df, max(0, estimate - half), min(1, estimate + half)))
    return pd.DataFrame(rows, columns=["treatment", "estimate", "error", "df", "low", "high"])


def _half(error: float, df: float) -> float:
    """Half the width of an interval; 0 where nothing varies and df is unknown."""
    return float(stats.t.ppf((1 + LEVEL) / 2, df) * error) if error != 0 else 0.0


def _ratio(over: float, under: float) -> float:
    """over / under; inf where only under is 0, NaN where both are."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.float64(over) / np.float64(under))
