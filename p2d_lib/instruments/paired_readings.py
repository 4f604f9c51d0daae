"""Tests of two readers of the same images: McNemar's, DeLong's, and by swapping their readings within lesions.

Images of one lesion resemble one another, so all three count lesions. They take the two readers as they are. Whether
two ways of training differ is a question over training seeds too, which `intervals.compare` answers.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from p2d_lib.instruments.intervals import FEWEST, Difference
from p2d_lib.instruments.paired_tests import PERMUTATIONS, PermutationTest, p_value


def swap_test(
    score: Callable[[np.ndarray], np.ndarray], lesions: Sequence, n_permutations: int = PERMUTATIONS, seed: int = 0
) -> PermutationTest:
    """Score of the first reader minus that of the second, and its two-sided p-value.

    score: takes weights (b, 2n) of the first reader's n rows followed by the second's, and gives the score of each line
    of them, (b,), such as one of `scores.resampled_scores`. lesions: of the n rows. Under the null hypothesis it does
    not matter which reader gave which of a lesion's two sets of readings, so these are swapped at random, lesion by
    lesion: the level is exact for every score (Good, Permutation, Parametric and Bootstrap Tests of Hypotheses, 2005).
    """
    codes, names = _codes(lesions)
    swapped = np.random.default_rng(seed).random((len(names), 1 + n_permutations)) < 0.5
    swapped[:, 0] = False
    swapped = swapped[codes]
    first, second = (np.concatenate(parts).astype(float).T for parts in ((~swapped, swapped), (swapped, ~swapped)))
    differences = score(first) - score(second)
    return PermutationTest(float(differences[0]), p_value(differences, centre=0.0))


def mcnemar(first_right: np.ndarray, second_right: np.ndarray, lesions: Sequence, level: float = 0.95) -> Difference:
    """Share of right readings of the first reader minus that of the second (-1..1): interval and two-sided p-value.

    first_right, second_right: bool (n,), or (n_seeds, n), whose mean over seeds is compared. d of a lesion: its right
    readings of the first less those of the second. The square of sum(d), over the sum of d squared, is chi-square with
    one degree of freedom (Yang, Sun, Hardin, Biometrical Journal 52, 2010); with one image a lesion it is McNemar's
    (Psychometrika 12, 1947) without continuity correction. Where no lesion differs p is 1. Raises ValueError for fewer
    than FEWEST lesions.
    """
    codes, names = _codes(lesions)
    _refuse_few(len(names), "lesions")
    first, second = (np.atleast_2d(right).astype(float).mean(0) for right in (first_right, second_right))
    of_lesions = np.bincount(codes, first - second)
    total, squares = of_lesions.sum(), (of_lesions**2).sum()
    p = 1.0 if squares == 0 else float(stats.chi2.sf(total**2 / squares, 1))
    error = np.sqrt(len(names) / (len(names) - 1) * ((of_lesions - _expected(codes, total)) ** 2).sum()) / len(codes)
    return _difference(total / len(codes), error, level, p)


def delong(
    positive: np.ndarray, first: np.ndarray, second: np.ndarray, lesions: Sequence, level: float = 0.95
) -> Difference:
    """Area under the ROC curve of the first score minus that of the second (-1..1): interval and two-sided p-value.

    positive: bool (n,). first, second: (n,), higher for positive, or (n_seeds, n), whose mean area is compared. The
    variance is DeLong, DeLong and Clarke-Pearson's (Biometrics 44, 1988), with Obuchowski's sums over lesions
    (Biometrics 53, 1997); with one image a lesion it is DeLong's itself. Two equal scores have p = 1. Raises ValueError
    for fewer than FEWEST lesions on either side.
    """
    positive = np.asarray(positive, bool)
    codes, names = _codes(lesions)
    for side, rows in (("positive", positive), ("negative", ~positive)):
        _refuse_few(len(np.unique(codes[rows])), f"{side} lesions")
    shares = np.mean([placements(positive, score) for score in np.atleast_2d(first)], axis=0)
    shares -= np.mean([placements(positive, score) for score in np.atleast_2d(second)], axis=0)
    difference = shares[positive].mean()
    sums = np.zeros((2, len(names)))
    for k, rows in enumerate((positive, ~positive)):
        of_lesions = np.bincount(codes[rows], shares[rows] - difference, len(names)) / rows.sum()
        n_lesions = len(np.unique(codes[rows]))
        sums[k] = np.sqrt(n_lesions / (n_lesions - 1)) * of_lesions
    error = np.sqrt((sums.sum(0) ** 2).sum())
    p = 1.0 if difference == 0 else float(2 * stats.norm.sf(abs(difference) / error)) if error else 0.0
    return _difference(difference, error, level, p)


def placements(positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The share of the other side that each row is rightly ordered with, ties one half: (n,)."""
    shares = np.empty(len(score))
    for rows, sign in ((positive, 1), (~positive, -1)):
        others = np.sort(sign * score[~rows])
        ours = sign * score[rows]
        below = np.searchsorted(others, ours, "left") + np.searchsorted(others, ours, "right")
        shares[rows] = below / (2 * len(others))
    return shares


def _codes(lesions: Sequence) -> tuple[np.ndarray, np.ndarray]:
    codes, names = pd.factorize(np.asarray(lesions))
    if (codes < 0).any():
        raise ValueError(f"{(codes < 0).sum()} of {len(codes)} rows have no lesion_id to test by")
    return codes, names


def _expected(codes: np.ndarray, total: float) -> np.ndarray:
    """The difference of each lesion if all images had the mean one."""
    return np.bincount(codes) * total / len(codes)


def _refuse_few(n: int, what: str) -> None:
    if n < FEWEST:
        raise ValueError(f"{n} {what} are too few for this test, which needs {FEWEST}; report the counts instead")


def _difference(difference: float, error: float, level: float, p: float) -> Difference:
    half = stats.norm.ppf((1 + level) / 2) * error
    return Difference(*(float(v) for v in (difference, max(-1, difference - half), min(1, difference + half))), p)
