"""Agreement of readers beyond chance: kappa."""

from itertools import combinations

import numpy as np
import pandas as pd

from p2d_lib.instruments import intervals

FEWEST = 30  # images; of 30 the interval holds the true kappa in 81 to 97 %, of 10 or 14 in as few as 72 %
COLUMNS = ("readers", "n", "kappa", "low", "high")


def kappa(answers: pd.DataFrame) -> pd.DataFrame:
    """One row per pair of readers, and one for all where there are more than two: readers, n, kappa, low, high (-1..1).

    answers: one row per image, one column per reader, missing where a reader did not answer. n: images that all of
    the readers named answered. Pairs have Cohen's kappa (Educ Psychol Meas 1960), all together Fleiss' (Psychol Bull
    1971): 0 is agreement by chance, 1 is perfect. NaN without common images, or where all answers are one and the same.
    low, high: the 95 % interval over images (bootstrap, readers as they are), NaN with fewer than FEWEST. Empty with
    fewer than two readers.
    """
    answers, rows = answers.dropna(axis=1, how="all"), []
    groups = {" – ".join(pair): list(pair) for pair in combinations(answers, 2)}
    if answers.shape[1] > 2:
        groups[f"all {answers.shape[1]}"] = list(answers)
    for name, readers in groups.items():
        common = answers[readers].dropna().astype(str)
        rows.append((name, len(common), *_kappa(common)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _kappa(answers: pd.DataFrame) -> tuple[float, float, float]:
    """Kappa and its interval. By chance two agree as often as their own habits say (Cohen), more as all habits say."""
    n, n_readers = answers.shape
    if len(np.unique(answers.to_numpy(str))) < 2:
        return np.nan, np.nan, np.nan
    codes, names = pd.factorize(answers.to_numpy(str).ravel())
    given = np.eye(len(names))[codes].reshape(n, n_readers, -1)  # 1 where a reader gave an answer
    of_answers = given.sum(1)
    agreeing = (of_answers * (of_answers - 1)).sum(1) / (n_readers * (n_readers - 1))
    weights = intervals.resample(range(n), seed=0) if n >= FEWEST else np.ones((1, n))
    habits = (weights @ given.reshape(n, -1) / n).reshape(len(weights), n_readers, -1)
    by_chance = (habits.prod(1) if n_readers == 2 else habits.mean(1) ** 2).sum(1)
    with np.errstate(invalid="ignore"):
        replicates = (weights @ agreeing / n - by_chance) / (1 - by_chance)
    if n < FEWEST:
        return float(replicates[0]), np.nan, np.nan
    return tuple(intervals.summarise(replicates, bounds=(-1, 1)))
