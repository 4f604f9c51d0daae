"""Where one more rerun of a result may lie, learnt from the few reruns that there are, of many results at once.

One result that was computed twice says little about its spread; hundreds of them say together what spreads are usual.
So the variance of each result is moderated by others (Smyth, Stat Appl Genet Mol Biol 3:3, 2004): within a group, such
as a column of a table, variances are taken to follow s0² d0 / chi²(d0), with one d0 for all groups and an s0² for each;
a result's moderated variance (d0 s0² + d s²) / (d0 + d) has d0 + d degrees of freedom. A further run lies within
mean ± t s √(1 + 1/runs).
"""

from collections.abc import Sequence

import numpy as np
from scipy import optimize, special, stats

FEWEST = 4  # results of a group that vary, for an s0² of its own
DEGREES = (1, 1.5, 2, 3, 4, 8, 16, 1000)  # the values of d0 that are compared
PLAUSIBLE = float(stats.chi2.isf(0.1, 1) / 2)  # log likelihood that the lower end of d0's interval (95 %) may lose


def usual_spread(variances: Sequence[np.ndarray], df: int) -> tuple[float, list[float]]:
    """d0, and s0² of each group: s² / s0² follows F(df, d0), fitted by maximum likelihood.

    variances: of each group float (n,), all above 0. df: the degrees of freedom of each. d0 is the lower end of its
    profile-likelihood interval, one of DEGREES: a larger one than the truth would call honest reruns changed. Raises
    ValueError for a variance that is not above 0.
    """
    for group in variances:
        if not (group > 0).all():
            raise ValueError(f"a variance is {group.min()}; expected numbers above 0")
    fits = [[_fit(group, df, d0) for group in variances] for d0 in DEGREES]
    lack = np.array([sum(fit.fun for fit in groups) for groups in fits])
    lowest = int(np.flatnonzero(lack <= lack.min() + PLAUSIBLE)[0])
    return DEGREES[lowest], [float(np.exp(fit.x)) for fit in fits[lowest]]


def _fit(variances: np.ndarray, df: int, d0: float) -> optimize.OptimizeResult:
    """log s0² of a group for a given d0."""
    middle = np.log(np.median(variances))
    bounds, options = (middle - 6, middle + 6), {"xatol": 0.01}
    return optimize.minimize_scalar(_lack_of_fit, bounds=bounds, args=(variances, df, d0), options=options)


def _lack_of_fit(log_usual: float, variances: np.ndarray, df: int, d0: float) -> float:
    """Minus the log likelihood of the scaled F law, without its constants."""
    x = variances / np.exp(log_usual)
    log_density = df / 2 * np.log(df / d0) + (df / 2 - 1) * np.log(x) - (df + d0) / 2 * np.log1p(df * x / d0)
    return float(-(log_density - special.betaln(df / 2, d0 / 2) - log_usual).sum())


def limits(values: np.ndarray, groups: Sequence, level: float) -> np.ndarray:
    """Between which values one more run lies, except with probability `level` for each result.

    values: float (results, runs), at least two runs. groups: (results,) the group of each result, within which spreads
    are comparable; those with fewer than FEWEST results that vary are joined. level: two-sided. Returns float
    (results, 2). Where fewer than FEWEST results vary at all, each has its own variance only, and one that never varied
    has no width. Raises ValueError for fewer than two runs.
    """
    runs = values.shape[1]
    if runs < 2:
        raise ValueError("one run has no spread: at least two are needed")
    mean, variance, df = values.mean(axis=1), values.var(axis=1, ddof=1), runs - 1
    degrees, varies = np.full(len(values), float(df)), variance > 0
    labels = _joined(np.array([str(group) for group in groups], dtype=object), varies)
    names = sorted(set(labels[varies]))
    if varies.sum() >= FEWEST:
        d0, usual = usual_spread([variance[varies & (labels == name)] for name in names], df)
        for name, s0 in zip(names, usual, strict=True):
            here = labels == name
            known = (varies & here).sum() * df * d0 / (df + d0 + 2)  # degrees of freedom of s0² itself (information)
            prior = 1 / (1 / d0 + 1 / known)
            variance[here] = (prior * s0 + df * variance[here]) / (prior + df)
            degrees[here] += prior
    reach = stats.t.isf(level / 2, degrees) * np.sqrt(variance * (1 + 1 / runs))
    return np.stack([mean - reach, mean + reach], axis=1)


def _joined(labels: np.ndarray, varies: np.ndarray) -> np.ndarray:
    """The labels, with one in common for the groups in which too few results vary."""
    few = [name for name in set(labels) if (varies & (labels == name)).sum() < FEWEST]
    return np.where(np.isin(labels, few), "", labels) if few else labels


def probability_of_changes(changed: int, of: int, earlier: int, of_earlier: int) -> float:
    """The probability that at least `changed` of `of` words change in a further rerun.

    earlier, of_earlier: how many of how many words have changed in the earlier reruns. By the beta-binomial law that
    follows from Jeffreys' prior; 1 where nothing changed.
    """
    return float(stats.betabinom.sf(changed - 1, of, earlier + 0.5, of_earlier - earlier + 0.5))
