"""Equivalence: that two things differ by less than a margin is shown by an interval inside it, not by a large p-value.

Two one-sided tests (Schuirmann, J Pharmacokinet Biopharm 15, 1987). At 5 % they announce equivalence where the
two-sided 90 % interval lies within the margin. `p_equivalent` and `p_different` take an estimate and its standard
error. An error that is estimated as 0 proves nothing; so an area and two shares have tests of their own, whose error is
that of the hypothesis.
"""

import numpy as np
from scipy import optimize, stats

from p2d_lib.instruments.multi_reader_scores import empirical_auc

CHANCE = 0.5  # area under the ROC curve
FEW = 9  # images on one side: below, ranks follow no normal law
PERMUTATIONS = 20_000  # at most; of 8 and 8 images all 12,870 are counted
WIDEST = 40.0  # standard errors within which a limit is searched


def p_equivalent(difference: float, error: float, margin: float, df: float = float("inf")) -> float:
    """The p-value of "the true difference is as large as the margin": small where the two are equivalent.

    difference: estimated. error: its standard error. margin: above 0. df: degrees of freedom, inf for a normal law. NaN
    where the difference or its error is unknown, and where the error is 0: what does not vary in a sample may vary
    elsewhere. Raises ValueError for a margin that is not above 0.
    """
    _check(margin)
    if difference != difference or not error > 0:
        return float("nan")
    return float(stats.t.sf((margin - abs(difference)) / error, df))


def p_different(difference: float, error: float, df: float = float("inf")) -> float:
    """The two-sided p-value of "there is no difference"; 1 without a difference, NaN where one has no error."""
    if difference == 0:
        return 1.0
    return float(2 * stats.t.sf(abs(difference) / error, df)) if error > 0 else float("nan")


def p_equivalent_area(positive: np.ndarray, rating: np.ndarray, margin: float) -> float:
    """The p-value of "the true area under the ROC curve lies as far from 0.5 as the margin".

    positive: bool (n,), with both sides. rating: (n,), higher for positive. margin: above 0. The error is that of an
    area of 0.5 + margin (Newcombe, Stat Med 25, 2006, method 5), so it is never 0. NaN where all ratings are equal:
    nobody was asked. Raises ValueError for a margin that is not above 0.
    """
    _check(margin)
    if (rating == rating[0]).all():
        return float("nan")
    error = _area_error(CHANCE + margin, *_sides(positive))
    return float(stats.norm.sf((margin - abs(empirical_auc(positive, rating) - CHANCE)) / error))


def p_different_area(positive: np.ndarray, rating: np.ndarray) -> float:
    """The two-sided p-value of "the true area is 0.5": Mann and Whitney's (Ann Math Stat 1947), with fewer than FEW
    images on a side by permutation. positive: bool (n,). rating: (n,). NaN where one side is empty."""
    fewest, method = min(_sides(positive)), "auto"
    if not fewest:
        return float("nan")
    if fewest < FEW:
        method = stats.PermutationMethod(PERMUTATIONS, rng=np.random.default_rng(0))
    return float(stats.mannwhitneyu(rating[positive], rating[~positive], method=method).pvalue)


def area_interval(positive: np.ndarray, rating: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of an area under the ROC curve, 0..1 (Newcombe 2006, method 5): of an area of 1, too, it has a
    width. positive: bool (n,), with both sides. rating: (n,)."""
    area, z = empirical_auc(positive, rating), stats.norm.ppf(0.975)

    def beyond(true: float) -> float:
        return abs(true - area) - z * _area_error(true, *_sides(positive))

    inside = float(np.clip(area, 1e-9, 1 - 1e-9))  # an area of 0 or 1 has no error itself
    low, high = (end if area == end else optimize.brentq(beyond, inside, end) for end in (0.0, 1.0))
    return float(low), float(high)


def p_equivalent_shares(first: np.ndarray, second: np.ndarray, margin: float) -> float:
    """The p-value of "two true shares differ by as much as the margin".

    first (n,), second (m,): bool, of different images. margin: above 0. By Newcombe's interval (Stat Med 17, 1998,
    method 10), whose width is above 0 whatever the shares are. Raises ValueError for a margin that is not above 0.
    """
    _check(margin)
    counts = sorted(((int(np.sum(part)), len(part)) for part in (first, second)), key=lambda c: c[0] / c[1])
    z = optimize.brentq(lambda z: _difference_limit(*counts[::-1], z) - margin, -WIDEST, WIDEST)
    return float(stats.norm.sf(z))


def _check(margin: float) -> None:
    if not margin > 0:
        raise ValueError(f"margin is {margin}; expected a difference above 0 that would not matter")


def _sides(positive: np.ndarray) -> tuple[int, int]:
    return int(positive.sum()), int((~positive).sum())


def _area_error(area: float, n_positive: int, n_negative: int) -> float:
    """The standard error of an estimated area where the true one is `area`, 0..1."""
    spread = 1 + ((n_positive + n_negative) / 2 - 1) * ((1 - area) / (2 - area) + area / (1 + area))
    return float(np.sqrt(area * (1 - area) * spread / (n_positive * n_negative)))


def _difference_limit(first: tuple[int, int], second: tuple[int, int], z: float) -> float:
    """The limit of share k / n of the first minus that of the second, z standard errors above the estimate."""
    (k, n), (k_second, n_second) = first, second
    above, below = _wilson(k, n, z) - k / n, k_second / n_second - _wilson(k_second, n_second, -z)
    return float(k / n - k_second / n_second + np.sign(z) * np.hypot(above, below))


def _wilson(k: int, n: int, z: float) -> float:
    """Wilson's limit of a share (JASA 22, 1927), z standard errors above the estimate."""
    return (k + z * z / 2 + z * np.sqrt(k * (n - k) / n + z * z / 4)) / (n + z * z)
