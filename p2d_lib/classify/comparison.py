"""Arms compared: scores with intervals over test lesions and training seeds, paired differences, recall by class.

Balanced accuracy is the primary score, chosen beforehand: only its differences are tested and announced.
"""

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from p2d_lib.instruments import intervals, multiplicity, scores
from p2d_lib.seeds import derive

PAIRS = (
    ("mixed", "real"),
    ("mixed", "real+replay"),
    ("real+replay", "real"),
    ("synthetic", "real"),
    ("curriculum", "mixed"),
    ("mixed:skin-tones", "real+replay:skin-tones"),
)
PRIMARY = "balanced_accuracy"


class Best(NamedTuple):
    """The best of several arms. difference: of the primary score from a reference; p: corrected (Holm)."""

    arm: Hashable
    difference: intervals.Difference
    p: float


Replicates = dict[str, dict[str, np.ndarray]]  # arm -> score -> (n_seeds, 1 + B); column 0: the sample itself


def replicates(readings: pd.DataFrame, cases: pd.DataFrame, seed: int, n_resamples: int = 1000) -> Replicates:
    """Every score of every arm and training seed on the same resamples of the test lesions, arms in order of readings.

    readings: schemas.READINGS of one reader per arm and seed, all of the same images. cases: their rows at least.
    Raises ValueError when arms or seeds have read different images.
    """
    result: Replicates = {}
    for arm, of_seeds in by_arm(readings, cases):
        if not result:
            lesions = of_seeds[0].set_index("image_id")["lesion_id"]
            weights = intervals.resample(lesions, n_resamples, seed=derive(seed, "lesions") % 2**32).astype(float)
        for part in of_seeds:
            if list(part["image_id"]) != list(lesions.index):
                raise ValueError(
                    f"arm {arm!r}, seed {part['seed'].iloc[0]} read {len(part)} images, others {len(lesions)} or other "
                    "ones: arms are compared on the same images"
                )
        result[arm] = scores.scores_by_seed(of_seeds, [weights] * len(of_seeds))
    return result


def pairs(arms: Iterable[str]) -> list[tuple[str, str]]:
    """Which arms are compared: PAIRS, and each arm of other images ("mixed:base@2x") with "mixed@2x"."""
    arms = list(arms)
    named = [(arm, re.sub(r":[^@]*", "", arm)) for arm in arms if ":" in arm]
    return [(first, second) for first, second in (*PAIRS, *named) if first in arms and second in arms]


def paired(of_arms: Replicates) -> pd.DataFrame:
    """One row per score and pair of arms: first minus second, in 0..1, over lesions and training seeds.

    score, first, second; difference, low, high, p (`intervals.compare`); detectable: the difference that the first step
    of Holm's correction would detect with a power of 80 % (`intervals.minimal_detectable`); n_seeds; lowest, highest:
    the differences that single seeds give; agreeing: how many of them have the sign of their mean; p_holm: over the
    pairs; announced: p_holm is at most multiplicity.LEVEL and all seeds agree in sign, so no verdict depends on one
    training. p and p_holm are those of the primary score, NaN of the others. Raises ValueError with a single seed.
    """
    rows, compared = [], pairs(of_arms)
    level = 1 - multiplicity.LEVEL / max(1, len(compared))
    for score in scores.SCORES:
        for first, second in compared:
            difference = intervals.compare(of_arms[first][score], of_arms[second][score])
            of_seeds = of_arms[first][score][:, 0] - of_arms[second][score][:, 0]
            if len(of_seeds) < 2:
                raise ValueError(
                    "differences of arms need two training seeds or more, there is 1: raise 06_classify.seeds"
                )
            rows.append(
                {"score": score, "first": first, "second": second}
                | difference._asdict()
                | {"detectable": intervals.minimal_detectable(of_arms[first][score], of_arms[second][score], level)}
                | {"lowest": of_seeds.min(), "highest": of_seeds.max(), "n_seeds": len(of_seeds)}
                | {"agreeing": int((of_seeds * difference.difference > 0).sum())}
            )
    columns = ["score", "first", "second", *intervals.Difference._fields, "detectable"]
    table = pd.DataFrame(rows, columns=[*columns, "lowest", "highest", "n_seeds", "agreeing"])
    table["p"] = table["p"].where(table["score"] == PRIMARY)
    table["p_holm"] = multiplicity.holm(table["p"])
    table["announced"] = (table["p_holm"] <= multiplicity.LEVEL) & (table["agreeing"] == table["n_seeds"])
    return table


def best_against(of_arms: Mapping[Hashable, Mapping[str, np.ndarray]], reference: Hashable) -> Best:
    """Which arm has the highest mean of the primary score, and how it differs from the arm `reference`.

    p is corrected (Holm) over the differences of all other arms from the reference: the best was not known beforehand.
    Where the reference is the best, the difference and p are those of no difference.
    """
    means = {arm: float(of_arm[PRIMARY][:, 0].mean()) for arm, of_arm in of_arms.items()}
    best = max(means, key=means.get)
    if best == reference:
        return Best(best, intervals.Difference(0.0, 0.0, 0.0, 1.0), 1.0)
    differences = {
        arm: intervals.compare(of_arm[PRIMARY], of_arms[reference][PRIMARY])
        for arm, of_arm in of_arms.items()
        if arm != reference
    }
    p = dict(zip(differences, multiplicity.holm(pd.Series([row.p for row in differences.values()])), strict=True))
    return Best(best, differences[best], float(p[best]))


def recall_by_class(
    readings: pd.DataFrame, cases: pd.DataFrame, seed: int, n_resamples: int = 1000
) -> dict[str, dict[str, intervals.Interval]]:
    """{dx: {arm: the recall of that class, with its interval over lesions and training seeds}} of the classes read.

    The interval of a class with fewer than intervals.FEWEST lesions is NaN.
    """
    result: dict[str, dict[str, intervals.Interval]] = {}
    for arm, of_seeds in by_arm(readings, cases):
        for dx in sorted(set(of_seeds[0]["dx"])):
            of_class = [part[part["dx"] == dx] for part in of_seeds]
            right = np.array([part["dx_read"] == dx for part in of_class])
            if of_class[0]["lesion_id"].nunique() < intervals.FEWEST:
                recall = intervals.Interval(float(right.mean()), np.nan, np.nan)
            else:
                lesions = of_class[0]["lesion_id"]
                weights = intervals.resample(lesions, n_resamples, seed=derive(seed, "class", dx) % 2**32)
                recall = summary(right @ weights.T / weights.sum(1))
            result.setdefault(dx, {})[arm] = recall
    return result


def standard_error(of_arms: Replicates, arm: str) -> float:
    """The standard deviation of one classifier's score over test sets of such lesions: mean over seeds, in 0..1."""
    return float(of_arms[arm][PRIMARY][:, 1:].std(axis=1).mean())


def summary(of_score: np.ndarray) -> intervals.Interval:
    """The mean over seeds of a score in 0..1 and its interval. of_score: (n_seeds, 1 + B)."""
    return intervals.summarise(of_score, bounds=(0, 1))


def by_arm(readings: pd.DataFrame, cases: pd.DataFrame) -> Iterator[tuple[str, list[pd.DataFrame]]]:
    """Each arm with its seeds' readings beside lesion_id and dx, rows in the order of image_id, so that rows pair."""
    table = readings.merge(cases[["image_id", "lesion_id", "dx"]], on="image_id", validate="many_to_one")
    for arm, of_arm in table.sort_values("image_id", kind="stable").groupby("arm", sort=False):
        yield arm, [part for _, part in of_arm.groupby("seed")]
