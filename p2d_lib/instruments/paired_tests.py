"""Permutation tests of paired sets: is one generator nearer to real images than another, do images follow prompts?

Two images that were generated from one prompt and one seed are a pair. If both generators were one, exchanging the two
images of any pair would change nothing: the observed difference of two distances is compared with the differences after
random exchanges (Good, Permutation, Parametric and Bootstrap Tests of Hypotheses, 3rd ed. 2005, sec. 3.7). That holds
for every distance, n and number of features, so the level is exact; the tests simulate it.
"""

from typing import NamedTuple

import numpy as np

from p2d_lib.instruments import distances

PERMUTATIONS = 499
_OF_SUBSETS = {"frechet": distances.frechet_of_subsets, "kid": distances.kid_of_subsets}


class PermutationTest(NamedTuple):
    """An observed statistic and its two-sided p-value, at least 1 / (1 + permutations)."""

    observed: float
    p: float


def exchanges(n_pairs: int, n_permutations: int = PERMUTATIONS, seed: int = 0) -> np.ndarray:
    """Which pairs exchange their two images: bool (1 + n_permutations, n_pairs), none in row 0."""
    swapped = np.random.default_rng(seed).random((1 + n_permutations, n_pairs)) < 0.5
    swapped[0] = False
    return swapped


def p_value(statistics: np.ndarray, centre: float = 0.0) -> float:
    """Share of the statistics (1 + permutations,) that lie as far from the centre as the first, the observed one.

    NaN where the observed one is. The observed one counts, so p is never 0 (Phipson, Smyth, SAGMB 9, 2010).
    """
    away = np.abs(np.asarray(statistics, float) - centre)
    if np.isnan(away[0]):
        return float("nan")
    return float((away >= away[0] * (1 - 1e-9)).mean())  # equal but for rounding is as far


def nearer(
    first: np.ndarray,
    second: np.ndarray,
    reference: np.ndarray,
    metric: str = "frechet",
    n_permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> PermutationTest:
    """Distance of first (n, d) to the reference (m, d) less that of second (n, d): below 0, first is nearer.

    Row i of first and second is a pair. metric: "frechet" or "kid". The hypothesis is that either image of a pair may
    come from either generator. Raises ValueError when the pairs are fewer than two or do not match.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"pairs need rows of equal number, two or more; there are {len(first)} and {len(second)}")
    swapped = exchanges(len(first), n_permutations, seed)
    members, pool = np.hstack([~swapped, swapped]), np.vstack([first, second])
    of_subsets = _OF_SUBSETS[metric]
    differences = of_subsets(pool, members, reference) - of_subsets(pool, ~members, reference)
    return PermutationTest(float(differences[0]), p_value(differences))


def matched(scores: np.ndarray, n_permutations: int = PERMUTATIONS, seed: int = 0) -> PermutationTest:
    """Whether things fit their own partner better than somebody's: the mean of the diagonal of scores (n, n).

    scores[i, j]: how well thing i (an image) fits partner j (a prompt). The hypothesis is that the partners are dealt
    at random: permutations of the columns give the distribution, whose mean is that of all scores.
    """
    rng, rows = np.random.default_rng(seed), np.arange(len(scores))
    permuted = [scores[rows, rng.permutation(len(scores))].mean() for _ in range(n_permutations)]
    statistics = np.array([np.trace(scores) / len(scores), *permuted])
    return PermutationTest(float(statistics[0]), p_value(statistics, centre=float(scores.mean())))
