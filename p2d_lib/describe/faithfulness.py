"""Does a describer's score of a feature follow the image? Agreement with a reference, and what of it is the image's.

Knowing the diagnosis alone tells much of the features. So a describer stands beside the class prior, which knows
nothing else, and beside itself with the descriptions exchanged within each diagnosis: what is lost by the exchange, it
owed to the image.

Scores and references are tables with one column per feature of the vocabulary, one row per image, in the same order.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from p2d_lib.instruments import intervals
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words.render import PRESENT

MEASURES = ("auc", "kappa")
LOTS = 5  # exchanges that swap sensitivity is averaged over: by a single one it would depend on the seed


def by_feature(scores: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Agreement on each feature of which the reference knows images with and without it.

    scores: 0..1, NaN: says nothing of it, which counts as 0, not said. reference: 0..1, NaN: not known, left out.
    Columns: feature, n (images where the reference knows), present (how many of them show it, by the reference), auc
    (of the score, 0..1), kappa (Cohen's, -1..1; of what is said and what is there, both from PRESENT on).
    """
    found = _agreement(scores, reference, np.ones((1, len(reference))))
    known, there = _known(reference)
    table = {"feature": list(FEATURES), "n": known.sum(0), "present": there.sum(0)}
    table |= {measure: found[measure][0] for measure in MEASURES}
    return pd.DataFrame(table).dropna(ignore_index=True)


def resampled(scores: pd.DataFrame, reference: pd.DataFrame, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Means of auc and kappa over the features of `by_feature`, on each resample: {measure: (len(weights),)}.

    weights: `stats.resample` of the images' lesions. Features that a resample has no contrast of are left out of its
    mean, which is NaN where none is left.
    """
    found = _agreement(scores, reference, weights)
    return {measure: _mean(values) for measure, values in found.items()}


def macro(
    scores: pd.DataFrame, reference: pd.DataFrame, lesion_ids: Sequence[str], n_resamples: int = 1000, seed: int = 0
) -> dict[str, intervals.Interval]:
    """Mean auc and kappa over features, each with its percentile interval over lesions."""
    draws = resampled(scores, reference, _lesions(lesion_ids, n_resamples, seed))
    return {measure: intervals.summarise(draws[measure]) for measure in MEASURES}


def compare(
    first: pd.DataFrame,
    second: pd.DataFrame,
    reference: pd.DataFrame,
    lesion_ids: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, intervals.Difference]:
    """First minus second describer of the same images: mean auc and kappa over features, paired over lesions."""
    weights = _lesions(lesion_ids, n_resamples, seed)
    one, other = (resampled(scores, reference, weights) for scores in (first, second))
    return {measure: intervals.compare(one[measure], other[measure]) for measure in MEASURES}


def class_prior(by_class: pd.DataFrame, dx: Sequence[str]) -> pd.DataFrame:
    """The scores of one who knows the diagnosis only: the mean reference score of train images of that dx.

    by_class: `scores.by_class` of the reference on train images. dx: of the images to be scored. NaN where the train
    images tell nothing.
    """
    return by_class.T.reindex(index=pd.Index(dx), columns=list(FEATURES)).reset_index(drop=True)


def swap_sensitivity(
    scores: pd.DataFrame,
    reference: pd.DataFrame,
    dx: Sequence[str],
    lesion_ids: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, intervals.Difference]:
    """Agreement with own descriptions minus that with those of other images of the same dx, paired over lesions.

    The others are drawn by lot, LOTS times. About 0: the describer sees the class and no more of the image; the larger
    the difference, the more it sees.
    """
    weights = _lesions(lesion_ids, n_resamples, seed)
    own = resampled(scores, reference, weights)
    lots = [exchange(dx, lesion_ids, derive(seed, "lot", lot)) for lot in range(LOTS)]
    swapped = [resampled(scores.iloc[other], reference, weights) for other in lots]
    return {
        measure: intervals.compare(own[measure], np.mean([one[measure] for one in swapped], axis=0))
        for measure in MEASURES
    }


def exchange(dx: Sequence[str], lesion_ids: Sequence[str], seed: int) -> np.ndarray:
    """For each image another one of the same dx, drawn by lot: int (n,), a permutation of the row numbers.

    The other image shows another lesion, unless one lesion has more than half of the images of a dx; an image that is
    alone in its dx keeps its own.
    """
    order = np.random.default_rng(derive(seed, "exchange")).permutation(len(dx))
    drawn = pd.DataFrame({"dx": np.asarray(dx), "lesion": np.asarray(lesion_ids)}).iloc[order]
    other = np.empty(len(dx), int)
    for _, rows in drawn.groupby("dx"):
        lesions, _ = pd.factorize(rows["lesion"])
        taken = rows.index[np.argsort(lesions, kind="stable")].to_numpy()  # lesion by lesion, in the order drawn
        step = min(np.bincount(lesions).max(), len(taken) // 2)  # far enough to leave the largest lesion
        other[taken] = np.roll(taken, step)
    return other


def _lesions(lesion_ids: Sequence[str], n_resamples: int, seed: int) -> np.ndarray:
    return intervals.resample(lesion_ids, n_resamples, derive(seed, "faithfulness"))


def _known(reference: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Of which images the reference knows a feature, and which of them show it: bool (n, 22) each."""
    values = reference[list(FEATURES)].to_numpy(float)
    return np.isfinite(values), values >= PRESENT


def _agreement(scores: pd.DataFrame, reference: pd.DataFrame, weights: np.ndarray) -> dict[str, np.ndarray]:
    """auc and kappa (b, 22) with images repeated as weights (b, n) say; NaN where the reference has no contrast."""
    if not len(scores) == len(reference) == weights.shape[1]:
        raise ValueError(
            f"scores of {len(scores)}, a reference of {len(reference)} and lesions of {weights.shape[1]} images: "
            "give the same images, in the same order"
        )
    scores, weights = scores[list(FEATURES)].fillna(0).to_numpy(float), weights.astype(float)
    known, there = _known(reference)
    auc = np.full((len(weights), len(FEATURES)), np.nan)
    for k in np.flatnonzero(there.any(0) & (known & ~there).any(0)):
        rows = known[:, k]
        auc[:, k] = scores.weighted_auc(there[rows, k], scores[rows, k], weights[:, rows])
    said = known & (scores >= PRESENT)
    n, n_said, n_there, n_both = (weights @ cells for cells in (known, said, there, said & there))
    with np.errstate(invalid="ignore"):
        observed = (n - n_said - n_there + 2 * n_both) / n
        expected = (n_said * n_there + (n - n_said) * (n - n_there)) / n**2
        kappa = np.where((n_there > 0) & (n_there < n), (observed - expected) / (1 - expected), np.nan)
    return {"auc": auc, "kappa": kappa}


def _mean(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.nansum(values, 1) / np.isfinite(values).sum(1)
