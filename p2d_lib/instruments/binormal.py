"""The binormal ROC model: ratings of both sides are normal on some scale, and a rating is a range of that scale.

On that scale negative cases follow N(0, 1) and positive ones N(a / b, 1 / b²), so that the ROC curve is
TPR = Phi(a + b Phi⁻¹(FPR)) and its area Phi(a / sqrt(1 + b²)) (Dorfman, Alf, J Math Psychol 6, 1969).
"""

import numpy as np
from scipy.stats import norm

ITERATIONS, TOLERANCE, SMALLEST_STEP = 500, 1e-12, 1e-10
LEAST = 1e-10  # of the probability of a rating, so that its logarithm exists
LEAST_SLOPE = 2.5e-4  # of b; where the likelihood grows as b falls to 0 there is no greatest one, and the area is that
# at this b. The published values of van Dyke's study depend on one such fit: its area is 0.95458 here and 0.95455 at 0
SUSPICIOUS_SLOPE = 0.05  # below, b may be on its way to 0
BEYOND = 6.0  # standard deviations: no negative case is expected above


def binormal_auc(positive: np.ndarray, rating: np.ndarray) -> float:
    """The area under the binormal ROC curve with the greatest likelihood, 0..1; NaN where one side is empty.

    positive: bool (n,). rating: (n,), higher for positive; ratings that leave the empirical curve unchanged are pooled.
    Where no point of the empirical curve lies inside the unit square the likelihood has no greatest value, and the area
    is what the points say: 1 where all lie on the left or the upper side, 0 where all lie on the other two, 0.5 where
    there is one rating only (as the R package MRMCaov, Smith and Hillis, Proc SPIE 11316, 2020).
    """
    positive, rating = np.asarray(positive, bool), np.asarray(rating, float)
    if positive.all() or not positive.any():
        return float("nan")
    counts = _counts(positive, rating)
    below = counts.cumsum(1)[:, :-1] / counts.sum(1, keepdims=True)  # of negative, of positive cases
    inner = (below > 0) & (below < 1)
    if not below.size:
        return 0.5
    if not inner.all(0).any():
        return _without_inner_points(below)
    a, b = _fit(counts, below)
    if b > 1:  # the other side is the wider one: there b falls where it grows here
        mirrored = counts[::-1, ::-1]
        a, b = _fit(mirrored, mirrored.cumsum(1)[:, :-1] / mirrored.sum(1, keepdims=True))
    return float(norm.cdf(a / np.hypot(1, b)))


def _counts(positive: np.ndarray, rating: np.ndarray) -> np.ndarray:
    """Cases by rating, float (2, k): negative, positive. Neighbours of which one side is empty alike are pooled."""
    _, code = np.unique(rating, return_inverse=True)
    counts = np.array([np.bincount(code[side], minlength=code.max() + 1) for side in (~positive, positive)], float)
    cumulative = counts.cumsum(1)
    keep = np.ones(counts.shape[1], bool)
    for side in cumulative:
        same = side[1:] == side[:-1]
        keep &= ~(np.append(False, same) & np.append(same, False))
    return np.diff(cumulative[:, keep], axis=1, prepend=0)


def _without_inner_points(below: np.ndarray) -> float:
    """The area where every point of the empirical curve lies on a side of the unit square."""
    left_or_top = (below[0] == 1) | (below[1] == 0)
    right_or_bottom = (below[0] == 0) | (below[1] == 1)
    return 1.0 if left_or_top.all() else 0.0 if right_or_bottom.all() else float("nan")


def _fit(counts: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """a and b with the greatest likelihood, b from LEAST_SLOPE."""
    inner = ((below > 0) & (below < 1)).all(0)
    z = norm.ppf(1 - below[:, inner])
    b, a = np.polyfit(*z, 1) if len(set(z[0])) > 1 else (1.0, float((z[1] - z[0]).mean()))
    smoothed = (counts[0].cumsum()[:-1] + 0.5) / (counts[0].sum() + 1)
    cutoffs = norm.ppf(smoothed) + 1e-3 * np.arange(len(smoothed))  # strictly rising
    best = _climb(np.array([a, max(b, 0.1), *cutoffs]), counts)
    if best[1] < SUSPICIOUS_SLOPE:
        flat = best
        while flat[1] > LEAST_SLOPE:
            flat = _climb(_flatter(flat), counts, fixed_slope=True)
        best = max(best, flat, key=lambda values: _likelihood(values, counts))
    return float(best[0]), float(best[1])


def _flatter(values: np.ndarray) -> np.ndarray:
    """Half the slope; cutoffs beyond all negative cases keep their place among the positive ones."""
    slope = max(values[1] / 2, LEAST_SLOPE)
    cutoffs = np.where(values[2:] > BEYOND, values[2:] * values[1] / slope, values[2:])
    return np.array([values[0], slope, *cutoffs])


def _climb(values: np.ndarray, counts: np.ndarray, fixed_slope: bool = False) -> np.ndarray:
    """Fisher's scoring with halved steps, from values (a, b, cutoffs) to the greatest likelihood near them."""
    free = np.arange(len(values)) != 1 if fixed_slope else np.ones(len(values), bool)
    likelihood = _likelihood(values, counts)
    for _ in range(ITERATIONS):
        gradient, information = _scoring(values, counts)
        step = np.zeros(len(values))
        step[free] = np.linalg.lstsq(information[np.ix_(free, free)], gradient[free], rcond=None)[0]
        size = 1.0
        while size > SMALLEST_STEP and (proposed := _likelihood(values + size * step, counts)) < likelihood:
            size /= 2
        if size <= SMALLEST_STEP:
            break
        gain, values, likelihood = proposed - likelihood, values + size * step, proposed
        if gain < TOLERANCE and np.abs(size * step).max() < 1e-9:
            break
    return values


def _probabilities(values: np.ndarray) -> np.ndarray:
    """The probability of each rating, (2, k): negative, positive."""
    a, b, cutoffs = values[0], values[1], values[2:]
    below = norm.cdf(np.array([cutoffs, b * cutoffs - a]))
    return np.diff(below, axis=1, prepend=0, append=1).clip(LEAST)


def _likelihood(values: np.ndarray, counts: np.ndarray) -> float:
    """The logarithm of the likelihood; -inf for values that no binormal model has."""
    if values[1] <= 0 or (np.diff(values[2:]) <= 0).any():
        return -np.inf
    return float((counts * np.log(_probabilities(values))).sum())


def _scoring(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of the logarithm of the likelihood, (k + 1,), and the expected information, (k + 1, k + 1)."""
    a, b, cutoffs = values[0], values[1], values[2:]
    density = norm.pdf(np.array([cutoffs, b * cutoffs - a]))
    at_cutoffs = np.zeros((2, len(values), len(cutoffs)))  # derivative of "below the cutoff"
    at_cutoffs[1, 0], at_cutoffs[1, 1] = -density[1], density[1] * cutoffs
    for side, slope in ((0, 1.0), (1, b)):
        at_cutoffs[side, 2:] = np.diag(density[side] * slope)
    slopes = np.diff(at_cutoffs, axis=2, prepend=0, append=0)
    probabilities = _probabilities(values)
    gradient = np.einsum("sk,svk->v", counts / probabilities, slopes)
    weights = counts.sum(1, keepdims=True) / probabilities
    return gradient, np.einsum("svk,sk,swk->vw", slopes, weights, slopes)
