"""Agreement of readers beyond chance: kappa."""

from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

COLUMNS = ("readers", "n", "kappa")


def kappa(answers: pd.DataFrame) -> pd.DataFrame:
    """One row per pair of readers, and one for all where there are more than two: readers, n, kappa (-1..1).

    answers: one row per image, one column per reader, missing where a reader did not answer. n: images that all of
    the readers named answered. Pairs have Cohen's kappa (Educ Psychol Meas 1960), all together Fleiss' (Psychol Bull
    1971): 0 is agreement by chance, 1 is perfect. NaN without common images, or where all answers are one and the same.
    Empty with fewer than two readers.
    """
    answers, rows = answers.dropna(axis=1, how="all"), []
    for pair in combinations(answers, 2):
        both = answers[list(pair)].dropna().astype(str)
        value = cohen_kappa_score(both[pair[0]], both[pair[1]]) if _vary(both) else np.nan
        rows.append((" – ".join(pair), len(both), value))
    common = answers.dropna().astype(str)
    if answers.shape[1] > 2:
        value = fleiss_kappa(aggregate_raters(common)[0]) if _vary(common) else np.nan
        rows.append((f"all {answers.shape[1]}", len(common), value))
    return pd.DataFrame(rows, columns=COLUMNS)


def _vary(answers: pd.DataFrame) -> bool:
    return len(np.unique(answers.to_numpy(str))) > 1
