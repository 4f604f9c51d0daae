"""What is read in images whose prompts test single words: does each word do what it says, also in new compositions?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from p2d_lib.instruments import intervals, obedience
from p2d_lib.instruments.multiplicity import LEVEL, holm
from p2d_lib.instruments.rates import exact_interval
from p2d_lib.vocabulary import DX, FEATURES

PERMUTATIONS = 999
FOLLOWS, NOT_SHOWN, UNREADABLE = "follows its word", "not shown", "not readable"


def of_real(
    described: pd.DataFrame, known: pd.DataFrame, held_out: np.ndarray, names: Sequence[str], seed: int
) -> pd.DataFrame:
    """`obedience.response` of real images whose lesions the readout has not seen: the most that images can reach.

    described: cases; known: their scores; held_out (n, 29): of readout.held_out. The intervals resample lesions.
    """
    read, groups = held_out[:, len(DX) :], described["lesion_id"].tolist()
    return obedience.response(
        described["dx"], known, read, groups=groups, attributes=names, n_permutations=0, seed=seed
    ).set_index("attribute")


def readable(real: pd.DataFrame) -> list[str]:
    """The features that the readout can read on real images: the interval of the concordance lies above chance.

    real: of `of_real`. A feature that cannot be read passes in 2.5 %.
    """
    return real.index[real["low"] > 0.5].tolist()


def responses(plan: pd.DataFrame, readings: Mapping[str, np.ndarray], real: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Of each feature what two readers read where chance has assigned it: index feature, columns by reader.

    plan: of `probes.at_random`; readings: {"readout": (n, 22), "scout": (n, 22)}. real: of `of_real`. Columns
    (reader, column of `obedience.response`), p, Holm's over the features that can be read, and verdict: FOLLOWS where p
    is at most LEVEL. Where no word has an effect, any FOLLOWS at all comes up in at most 5 % of runs.
    """
    parts = {"real": real}
    for reader, read in readings.items():
        more = {"groups": plan["image_id"], "attributes": list(real.index), "seed": seed}
        more["n_permutations"] = PERMUTATIONS if reader == "readout" else 0  # the verdict is the readout's alone
        parts[reader] = obedience.response(plan["dx"], plan, read, **more).set_index("attribute")
    table = pd.concat(parts, axis=1)
    known = table.index.isin(readable(real))
    p = holm(np.where(known, table[("readout", "p")], np.nan))
    verdict = np.select([~known, p <= LEVEL], [UNREADABLE, FOLLOWS], NOT_SHOWN)
    table[("p", "")], table[("verdict", "")] = p, verdict
    return table


def of_compositions(
    plan: pd.DataFrame, read: np.ndarray, usual: pd.DataFrame, usual_read: np.ndarray, seed: int
) -> pd.DataFrame:
    """How compositions that train lacks are read, beside compositions of the same words that it has.

    plan: of `probes.compositions`; read (n, 29): what the readout says. usual, usual_read: images of the same generator
    with prompts as train has them; of a class, those that are not asked for the feature are what more of it is
    measured against. Index kind, absent; columns compositions, n, in_train (the fewest and the most images of train
    that show one of them), class_read (share of images whose class is read as asked) and more (share of pairs of an
    image and a usual one of its class of which the image shows more of the feature, chance 0.5; for skin tone darker,
    or lighter where light skin is asked for): (estimate, low, high). The 95 % interval of class_read is exact and takes
    images as independent, so it is too narrow where those of one composition are alike; that of more resamples both
    sides' images. No interval of fewer than intervals.FEWEST images.
    """
    requested = plan["dx"].map(DX.index).to_numpy()
    right = read[:, : len(DX)].argmax(axis=1) == requested
    more = np.array([_more(row, read[k], usual, usual_read) for k, row in enumerate(plan.itertuples())])
    more = more.reshape(len(plan), len(usual))
    rows = {}
    for key, part in plan.groupby(["kind", "absent"], sort=False):
        places = part.index.to_numpy()
        counts = part["in_train"].min(), part["in_train"].max()
        n = part[["dx", "words"]].drop_duplicates().shape[0]
        rows[key] = (n, len(part), counts, _share(right[places]), _mean(more[places], seed))
    index = pd.MultiIndex.from_tuples(list(rows), names=["kind", "absent"]) if rows else None
    return pd.DataFrame(list(rows.values()), index, ["compositions", "n", "in_train", "class_read", "more"])


def _more(row, read: np.ndarray, usual: pd.DataFrame, usual_read: np.ndarray) -> np.ndarray:
    """Of each usual image 1 where it shows less than this one of what its words ask for, 0.5 as much, 0 more; NaN
    where it does not count."""
    column, score = len(DX) + list(FEATURES).index(row.feature), getattr(row, row.feature)
    level = obedience.levels(row.feature, usual[row.feature].to_numpy(float))
    others = (usual["dx"] == row.dx).to_numpy() & ~obedience.is_present(row.feature, np.nan_to_num(level))
    sign = -1 if row.kind == "skin tone" and score < 0.5 else 1
    ahead = (1 + np.sign(sign * (read[column] - usual_read[:, column]))) / 2
    return np.where(others, ahead, np.nan)


def _share(right: np.ndarray) -> tuple[float, float, float]:
    n = len(right)
    return float(right.mean()), *(exact_interval(int(right.sum()), n) if n >= intervals.FEWEST else (np.nan, np.nan))


def _mean(ahead: np.ndarray, seed: int) -> tuple[float, float, float]:
    """The mean over images (n, m) of the mean over the usual ones that count, and its interval over both."""
    counts = np.isfinite(ahead)
    ahead, counts = (table[counts.any(1)] for table in (np.nan_to_num(ahead), counts))
    n, m = ahead.shape
    if n < intervals.FEWEST or m < 2:
        return (float((ahead.sum(1) / counts.sum(1)).mean()) if n else np.nan, np.nan, np.nan)
    of_images, of_usual = (intervals.resample(range(k), seed=seed + i) for i, k in enumerate((n, m)))
    with np.errstate(invalid="ignore"):
        each = (of_usual @ ahead.T) / (of_usual @ counts.T)
        means = np.where(of_images > 0, of_images * each, 0).sum(1) / n
    return tuple(intervals.summarise(means, bounds=(0, 1)))
