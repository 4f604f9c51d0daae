"""Do a describer's scores of features follow the image? Agreement with a reference, and how much of it is the image's.

Knowing the diagnosis alone predicts many features. So a describer is compared with the class prior, which knows only
the diagnosis, and with itself after its descriptions were exchanged within each diagnosis: the agreement that is lost
by the exchange came from the image and not from the class.

Scores and references are tables with one column per feature of the vocabulary, one row per image, in the same order. A
feature that a describer scores on no image (NaN throughout) is left out of its means: unknown is neither right nor
wrong.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from p2d_lib.instruments import intervals
from p2d_lib.instruments.ranking import weighted_auc
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words.render import PRESENT

MEASURES = ("auc", "kappa")
EXCHANGES = 5  # exchanges that the loss is averaged over: with a single one it would depend on the seed


def scored(scores: pd.DataFrame) -> np.ndarray:
    """Which features a describer scores on at least one image: bool (22,), in the vocabulary's order."""
    return scores[list(FEATURES)].notna().any().to_numpy()


def by_feature(scores: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Agreement on each feature that the describer scores and that the reference knows to be present and absent.

    scores: 0..1; NaN on some images counts as 0 there, not present. reference: 0..1; images where it is NaN are left
    out. Columns: feature, n (images where the reference knows), present (images of these that show it, by the
    reference), auc (of the score, 0..1), kappa (Cohen's, -1..1; both sides present from PRESENT on).
    """
    agreement = _agreement(scores, reference, np.ones((1, len(reference))))
    known, present = _known(reference)
    table = {"feature": list(FEATURES), "n": known.sum(0), "present": present.sum(0)}
    table |= {measure: agreement[measure][0] for measure in MEASURES}
    return pd.DataFrame(table).dropna(ignore_index=True)


def resampled(scores: pd.DataFrame, reference: pd.DataFrame, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Means of auc and kappa over the features of `by_feature`, on each resample: {measure: (len(weights),)}.

    weights: `intervals.resample` of the images' lesions. Features that are all present or all absent in a resample are
    left out of its mean, which is NaN where none is left.
    """
    return {name: _mean(values) for name, values in _agreement(scores, reference, weights).items()}


def macro(
    scores: pd.DataFrame, reference: pd.DataFrame, lesion_ids: Sequence[str], n_resamples: int = 1000, seed: int = 0
) -> dict[str, intervals.Interval]:
    """Mean auc and kappa over features, each with its 95 % percentile interval over lesions."""
    replicates = resampled(scores, reference, _lesions(lesion_ids, n_resamples, seed))
    return {measure: intervals.summarise(replicates[measure], bounds=(-1, 1)) for measure in MEASURES}


def compare(
    first: pd.DataFrame,
    second: pd.DataFrame,
    reference: pd.DataFrame,
    lesion_ids: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, intervals.Difference]:
    """First minus second describer of the same images: mean auc and kappa over the features that both score.

    Paired over lesions: each replicate has the same lesions for both.
    """
    weights = _lesions(lesion_ids, n_resamples, seed)
    scored_by_both = pd.Series(scored(first) & scored(second), list(FEATURES))
    first_replicates, second_replicates = (
        resampled(table[list(FEATURES)].where(scored_by_both, axis=1), reference, weights) for table in (first, second)
    )
    return {measure: intervals.compare(first_replicates[measure], second_replicates[measure]) for measure in MEASURES}


def class_prior(by_class: pd.DataFrame, dx: Sequence[str]) -> pd.DataFrame:
    """The scores of a describer that knows the diagnosis only: the mean reference score of train images of that dx.

    by_class: `comparison.by_class` of the reference on train images. dx: of the images to be scored. NaN where the
    reference knows the feature on no train image.
    """
    return by_class.T.reindex(index=pd.Index(dx), columns=list(FEATURES)).reset_index(drop=True)


def exchange_loss(
    scores: pd.DataFrame,
    reference: pd.DataFrame,
    dx: Sequence[str],
    lesion_ids: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, intervals.Difference]:
    """Agreement of the descriptions minus that of descriptions of other images of the same dx, paired over lesions.

    Which other images is random; the mean of EXCHANGES permutations is taken. About 0: the describer uses the class
    and nothing else of the image; the larger the loss, the more it uses.
    """
    weights = _lesions(lesion_ids, n_resamples, seed)
    unexchanged = resampled(scores, reference, weights)
    permutations = [exchange(dx, lesion_ids, derive(seed, "lot", k)) for k in range(EXCHANGES)]
    exchanged = [resampled(scores.iloc[rows], reference, weights) for rows in permutations]
    return {
        measure: intervals.compare(
            unexchanged[measure], np.mean([replicates_of[measure] for replicates_of in exchanged], axis=0)
        )
        for measure in MEASURES
    }


def exchange(dx: Sequence[str], lesion_ids: Sequence[str], seed: int) -> np.ndarray:
    """For each image another image of the same dx, at random: int (n,), a permutation of the row numbers.

    The other image shows another lesion, unless one lesion has more than half of the images of a dx; an image that is
    the only one of its dx keeps its own.
    """
    order = np.random.default_rng(derive(seed, "exchange")).permutation(len(dx))
    shuffled = pd.DataFrame({"dx": np.asarray(dx), "lesion": np.asarray(lesion_ids)}).iloc[order]
    other = np.empty(len(dx), int)
    for _, rows in shuffled.groupby("dx"):
        lesions, _ = pd.factorize(rows["lesion"])
        by_lesion = rows.index[np.argsort(lesions, kind="stable")].to_numpy()  # lesions in the shuffled order
        step = min(np.bincount(lesions).max(), len(by_lesion) // 2)  # far enough to leave the largest lesion
        other[by_lesion] = np.roll(by_lesion, step)
    return other


def _lesions(lesion_ids: Sequence[str], n_resamples: int, seed: int) -> np.ndarray:
    return intervals.resample(lesion_ids, n_resamples, seed=derive(seed, "faithfulness"))


def _known(reference: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """On which images the reference knows a feature, and which of them show it: bool (n, 22) each."""
    values = reference[list(FEATURES)].to_numpy(float)
    return np.isfinite(values), values >= PRESENT


def _agreement(scores: pd.DataFrame, reference: pd.DataFrame, weights: np.ndarray) -> dict[str, np.ndarray]:
    """auc and kappa (b, 22), image i counted weights[b, i] times; NaN for features without contrast or not scored."""
    if not len(scores) == len(reference) == weights.shape[1]:
        raise ValueError(
            f"scores of {len(scores)}, a reference of {len(reference)} and lesions of {weights.shape[1]} images: "
            "give the same images, in the same order"
        )
    used, weights = scored(scores), weights.astype(float)
    values = scores[list(FEATURES)].fillna(0).to_numpy(float)
    known, present = _known(reference)
    auc = np.full((len(weights), len(FEATURES)), np.nan)
    for k in np.flatnonzero(used & present.any(0) & (known & ~present).any(0)):
        rows = known[:, k]
        auc[:, k] = weighted_auc(present[rows, k], values[rows, k], weights[:, rows])
    predicted = known & (values >= PRESENT)
    n, n_predicted, n_present, n_both = (weights @ cells for cells in (known, predicted, present, predicted & present))
    with np.errstate(invalid="ignore"):
        observed = (n - n_predicted - n_present + 2 * n_both) / n
        expected = (n_predicted * n_present + (n - n_predicted) * (n - n_present)) / n**2
        kappa = (observed - expected) / (1 - expected)
    return {"auc": auc, "kappa": np.where(used & (n_present > 0) & (n_present < n), kappa, np.nan)}


def _mean(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.nansum(values, 1) / np.isfinite(values).sum(1)
