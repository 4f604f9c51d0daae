"""Simulated multi-reader studies with planted areas under the ROC curve (Roe, Metz, Academic Radiology 4, 1997).

They show the level and the power of `multi_reader`, and how many readers and images a study needs (`reader_sizing`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm


class Variances(NamedTuple):
    """Variances of the parts of a rating; those of a case and its reading add up to 1 in Roe and Metz's tables.

    reader, reader_treatment: how far the means of one reader's ratings of positive and of negative cases scatter, with
    all treatments alike, and with each. case, case_treatment, case_reader, rest: of the cases of one side. The defaults
    are Roe and Metz's with low correlation and large differences of readers, for an area of 0.70.
    """

    reader: float = 0.011
    reader_treatment: float = 0.011
    case: float = 0.1
    case_treatment: float = 0.1
    case_reader: float = 0.2
    rest: float = 0.6


ROE_METZ = Variances()


def ratings(
    rng: np.random.Generator,
    areas: Sequence[float],
    n_readers: int,
    n_cases: int,
    variances: Variances = ROE_METZ,
) -> tuple[np.ndarray, np.ndarray]:
    """Truth, bool (n_cases,), half of them positive, and ratings, float (treatments, n_readers, n_cases).

    areas: the mean area under the ROC curve with each treatment, over all readers and cases there could be.
    """
    positive = np.arange(n_cases) % 2 == 1
    side = positive.astype(int)
    n = len(areas)
    spread = np.sqrt(2 * (1 + variances.reader + variances.reader_treatment))
    separation = spread * norm.ppf(np.asarray(areas, float))
    scatter = np.sqrt(variances)
    of_readers = scatter[0] * rng.standard_normal((1, n_readers, 2))
    of_readers = of_readers + scatter[1] * rng.standard_normal((n, n_readers, 2))
    return positive, (
        separation[:, None, None] * positive
        + of_readers[:, :, side]
        + scatter[2] * rng.standard_normal((1, 1, n_cases))
        + scatter[3] * rng.standard_normal((n, 1, n_cases))
        + scatter[4] * rng.standard_normal((1, n_readers, n_cases))
        + scatter[5] * rng.standard_normal((n, n_readers, n_cases))
    )
