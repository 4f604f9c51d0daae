"""How many readers and images a study needs: simulated studies, analysed by the code that analyses the real ones."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from p2d_lib.instruments import multi_reader, multi_reader_scores, roe_metz
from p2d_lib.instruments.equivalence import CHANCE, p_different, p_equivalent
from p2d_lib.instruments.multiplicity import LEVEL
from p2d_lib.instruments.roe_metz import ROE_METZ


class AgainstChance(NamedTuple):
    """The mean area under the ROC curve of all readers of a study, and whether it differs from chance.

    estimate, low, high: 0..1, 95 %. p: two-sided, of an area of 0.5. p_equivalent: of an area that lies as far from 0.5
    as the margin.
    """

    estimate: float
    low: float
    high: float
    p: float
    p_equivalent: float


def against_chance(scores: multi_reader.Scores, margin: float) -> AgainstChance:
    """The test of one treatment's mean area. scores: (1, r); with one reader the result holds for this reader alone."""
    readers = multi_reader.RANDOM if scores.estimates.shape[1] > 1 else multi_reader.FIXED
    row = multi_reader.analyse(scores, readers=readers).means.iloc[0]
    difference = row["estimate"] - CHANCE
    return AgainstChance(
        float(row["estimate"]),
        float(row["low"]),
        float(row["high"]),
        p_different(difference, row["error"], row["df"]),
        p_equivalent(difference, row["error"], margin, row["df"]),
    )


def power(
    n_readers: Sequence[int],
    n_images: Sequence[int],
    area: float,
    margin: float,
    n_replicates: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """How often studies reach a verdict: a row for each number of readers and of images (half of them synthetic).

    readers, images; finds: share of studies (0..1) that find readers with a mean area of `area` better than chance;
    cannot_tell: share that show readers at chance to be within the margin of it. n_replicates studies are simulated
    for each of the two, so that a share has a standard error of 0.05 at most with 100.
    """
    rows = []
    for images in n_images:
        for readers in n_readers:
            rng = np.random.default_rng((seed, images, readers))
            studies = {true: _simulated(rng, true, readers, images, margin, n_replicates)
                       for true in (area, CHANCE)}  # fmt: skip
            finds = np.mean([one.p <= LEVEL and one.estimate > CHANCE for one in studies[area]])
            cannot_tell = np.mean([one.p_equivalent <= LEVEL for one in studies[CHANCE]])
            rows.append((readers, images, float(finds), float(cannot_tell)))
    return pd.DataFrame(rows, columns=["readers", "images", "finds", "cannot_tell"])


def _simulated(
    rng: np.random.Generator,
    area: float,
    readers: int,
    images: int,
    margin: float,
    n_replicates: int,
) -> list[AgainstChance]:
    studies = (roe_metz.ratings(rng, [area], readers, images, ROE_METZ) for _ in range(n_replicates))
    return [against_chance(multi_reader_scores.delong(*study), margin) for study in studies]
