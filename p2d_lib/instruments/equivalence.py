"""Equivalence: that two things differ by less than a margin is shown by an interval inside it, not by a large p-value.

Two one-sided tests (Schuirmann, J Pharmacokinet Biopharm 15, 1987). At 5 % they announce equivalence where the
two-sided 90 % interval lies within the margin.
"""

from scipy import stats


def p_equivalent(difference: float, error: float, margin: float, df: float = float("inf")) -> float:
    """The p-value of "the true difference is as large as the margin": small where the two are equivalent.

    difference: estimated. error: its standard error. margin: above 0. df: degrees of freedom, inf for a normal law. NaN
    where the difference or its error is unknown. Raises ValueError for a margin that is not above 0.
    """
    if not margin > 0:
        raise ValueError(f"margin is {margin}; expected a difference above 0 that would not matter")
    if difference != difference or error != error:
        return float("nan")
    if error == 0:
        return 0.0 if abs(difference) < margin else 1.0
    return float(stats.t.sf((margin - abs(difference)) / error, df))


def p_different(difference: float, error: float, df: float = float("inf")) -> float:
    """The two-sided p-value of "there is no difference"; 1 without a difference, NaN where one has no error."""
    if difference == 0:
        return 1.0
    return float(2 * stats.t.sf(abs(difference) / error, df)) if error > 0 else float("nan")
