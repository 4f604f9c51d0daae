"""Arms compared by the tests that the field knows: of the trainings at hand, on the lesions of the test split.

They ask whether these networks differ on other lesions. `comparison.paired` asks whether the arms differ, whatever the
training seed, and decides what is announced.
"""

import numpy as np
import pandas as pd

from p2d_lib.classify.comparison import PRIMARY, by_arm, pairs
from p2d_lib.instruments import multiplicity, paired_readings, scores
from p2d_lib.instruments.intervals import FEWEST
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import MALIGNANT

TESTS = {
    "swap": "readings swapped within lesions",
    "mcnemar": "McNemar, clustered",
    "delong": "DeLong, clustered",
}
SCORE = {"swap": PRIMARY, "mcnemar": "accuracy", "delong": "malignant_auc"}


def reading_tests(readings: pd.DataFrame, cases: pd.DataFrame, seed: int, n_permutations: int = 999) -> pd.DataFrame:
    """One row per pair of arms and test: first, second, test (of TESTS), difference, low, high (-1..1), p, p_holm.

    readings, cases: as in `comparison.replicates`. Each test compares the mean over training seeds of its SCORE. low
    and high are NaN for "swap", which has no interval. p_holm: over the table. All are NaN where there are too few
    lesions, malignant or benign (`intervals.FEWEST`).
    """
    arms, rows = dict(by_arm(readings, cases)), []
    for first, second in pairs(arms):
        for test in TESTS:
            row = {"first": first, "second": second, "test": test}
            if _enough(arms[first][0]):
                row |= _tested(test, arms[first], arms[second], n_permutations, derive(seed, "swap", first, second))
            rows.append(row)
    table = pd.DataFrame(rows, columns=["first", "second", "test", "difference", "low", "high", "p"])
    return table.assign(p_holm=multiplicity.holm(table["p"].astype(float)))


def _tested(
    test: str, first: list[pd.DataFrame], second: list[pd.DataFrame], n_permutations: int, seed: int
) -> dict[str, float]:
    """first, second: the readings of each seed, rows in one order."""
    lesions, dx = first[0]["lesion_id"], first[0]["dx"].to_numpy(object)
    if test == "mcnemar":
        right = [np.array([part["dx_read"] == part["dx"] for part in of_seeds]) for of_seeds in (first, second)]
        return paired_readings.mcnemar(*right, lesions)._asdict()
    if test == "delong":
        malignant = [np.array([_malignant(part) for part in of_seeds]) for of_seeds in (first, second)]
        return paired_readings.delong(np.isin(dx, MALIGNANT), *malignant, lesions)._asdict()

    def score(weights: np.ndarray) -> np.ndarray:
        pairs = [pd.concat(pair) for pair in zip(first, second, strict=True)]
        of_seeds = [scores.resampled_scores(pair["dx"], pair["dx_read"], None, weights)[PRIMARY] for pair in pairs]
        return np.mean(of_seeds, axis=0)

    swapped = paired_readings.swap_test(score, lesions, n_permutations, seed % 2**32)
    return {"difference": swapped.observed, "p": swapped.p}


def _malignant(part: pd.DataFrame) -> np.ndarray:
    return part[[f"p_{dx}" for dx in MALIGNANT]].sum(axis=1).to_numpy()


def _enough(part: pd.DataFrame) -> bool:
    malignant = part["dx"].isin(MALIGNANT)
    return all(part.loc[rows, "lesion_id"].nunique() >= FEWEST for rows in (malignant, ~malignant))
