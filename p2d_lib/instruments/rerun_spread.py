"""Where one more rerun of a result may lie, learnt from the few reruns that there are, of many results at once.

One result that was computed twice says little about its spread; hundreds of them say together what spreads are usual.
So the variance of each result is moderated by all others (Smyth, Stat Appl Genet Mol Biol 3:3, 2004): variances are
taken to follow s0² d0 / chi²(d0), d0 and s0² are fitted to the measured ones, and a result's moderated variance
(d0 s0² + d s²) / (d0 + d) has d0 + d degrees of freedom. A further run lies within mean ± t s √(1 + 1/runs).
"""

import numpy as np
from scipy import optimize, special, stats

FEWEST = 3  # results that vary, from which d0 and s0² are fitted
DEGREES = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 48, 1000)  # the values of d0 that are compared
PLAUSIBLE = float(stats.chi2.isf(0.1, 1) / 2)  # log likelihood that the lower end of d0's interval (95 %) may lose


def usual_spread(variances: np.ndarray, df: int) -> tuple[float, float]:
    """d0 and s0² of the law of variances: s² / s0² follows F(df, d0), fitted by maximum likelihood.

    variances: float (n,), above 0, n at least FEWEST. df: the degrees of freedom of each. d0 is the lower end of its
    profile-likelihood interval, one of DEGREES: a larger one than the truth would call honest reruns changed. Raises
    ValueError for too few variances or one that is not above 0.
    """
    if len(variances) < FEWEST or not (variances > 0).all():
        least = variances.min(initial=np.inf)
        raise ValueError(f"{len(variances)} variances, the least {least}; expected {FEWEST} or more, above 0")
    middle = np.log(np.median(variances))
    fits = [
        optimize.minimize_scalar(
            _lack_of_fit, bounds=(middle - 6, middle + 6), args=(variances, df, d0), options={"xatol": 0.01}
        )
        for d0 in DEGREES
    ]
    lack = np.array([fit.fun for fit in fits])
    lowest = int(np.flatnonzero(lack <= lack.min() + PLAUSIBLE)[0])
    return DEGREES[lowest], float(np.exp(fits[lowest].x))


def _lack_of_fit(log_usual: float, variances: np.ndarray, df: int, d0: float) -> float:
    """Minus the log likelihood of the scaled F law, without its constants."""
    x = variances / np.exp(log_usual)
    log_density = df / 2 * np.log(df / d0) + (df / 2 - 1) * np.log(x) - (df + d0) / 2 * np.log1p(df * x / d0)
    return float(-(log_density - special.betaln(df / 2, d0 / 2) - log_usual).sum())


def limits(values: np.ndarray, level: float) -> np.ndarray:
    """Between which values one more run lies, except with probability `level` for each result.

    values: float (results, runs), at least two runs, in units that make the spreads of the results comparable. level:
    two-sided. Returns float (results, 2). Where fewer than FEWEST results vary, each has its own variance only; a
    result that never varied then has no width. Raises ValueError for fewer than two runs.
    """
    runs = values.shape[1]
    if runs < 2:
        raise ValueError("one run has no spread: at least two are needed")
    mean, variance, df = values.mean(axis=1), values.var(axis=1, ddof=1), runs - 1
    varies = variance > 0
    if varies.sum() >= FEWEST:
        d0, usual = usual_spread(variance[varies], df)
        variance, df = (d0 * usual + df * variance) / (d0 + df), df + d0
    reach = stats.t.isf(level / 2, df) * np.sqrt(variance * (1 + 1 / runs))
    return np.stack([mean - reach, mean + reach], axis=1)


def probability_of_changes(changed: int, of: int, earlier: int, of_earlier: int) -> float:
    """The probability that at least `changed` of `of` words change in a further rerun.

    earlier, of_earlier: how many of how many words have changed in the earlier reruns. By the beta-binomial law that
    follows from Jeffreys' prior; 1 where nothing changed.
    """
    return float(stats.betabinom.sf(changed - 1, of, earlier + 0.5, of_earlier - earlier + 0.5))
