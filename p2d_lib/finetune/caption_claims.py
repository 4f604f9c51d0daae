"""What captions change: distances of variants, and paired differences between variants that differ in one thing."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from scipy.optimize import brentq

from p2d_lib.finetune.captions import Trained
from p2d_lib.instruments import distances, multiplicity
from p2d_lib.instruments.intervals import Difference, Interval
from p2d_lib.instruments.jackknife import GROUPS, jackknife

Measure = Callable[[np.ndarray, np.ndarray], float]  # a distance of two sets of features, (n, d) each

FALSE_ALARMS = 0.13  # with two trainings; see `compare`
VGG16, UNET = "scratch-vgg16-unet", "scratch-unet"
CLAIMS = {  # what a variant has more than its counterpart, as the finding names it
    "rewritten": "rewritten captions", "concepts": "captions of the most frequent concepts alone",
    "entropy": "training without images of low entropy", "encoder": "the other text encoder",
    VGG16: "VGG16 as the encoder of the UNet",
}  # fmt: skip


def contrasts(variants: Sequence[str]) -> list[tuple[str, str, str]]:
    """(what, first, second): each pair of variants that differ in one thing, `what`, which the first one has."""
    pairs = []
    for first in variants:
        network, *options = first.split("+")
        for option in options:
            second = "+".join([network, *(other for other in options if other != option)])
            pairs += [(option, first, second)] if second in variants else []
        second = "+".join([UNET, *options])
        pairs += [(VGG16, first, second)] if network == VGG16 and second in variants else []
    return pairs


def limit(p: float, of_images: ArrayLike, of_trainings: ArrayLike, n: int) -> ArrayLike:
    """How many standard errors a mean over n trainings lies from the truth with probability p, on either side.

    of_images, of_trainings: the parts of its squared standard error. The limits of Student's t for either part alone,
    weighted by the parts (Cochran, Cox, Experimental Designs, 1950).
    """
    images, trainings = stats.t.isf(p / 2, GROUPS - 1), stats.t.isf(p / 2, n - 1)
    return (of_images * images + of_trainings * trainings) / (of_images + of_trainings)


def distance(real: np.ndarray, of_seeds: Sequence[np.ndarray], measure: Measure = distances.kid) -> Interval:
    """A distance to real images (n, d), mean over trainings; of_seeds: features (n, d) of each. 95 % interval as
    `compare`; NaN with one training."""
    estimate, low, high, _ = _over_trainings(real, [(features,) for features in of_seeds], measure)
    return Interval(estimate, low, high)


def compare(real: np.ndarray, first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> Difference:
    """KID of first minus that of second, features (n, d) of each training, paired by prompt and by seed.

    The squared standard error is that of the mean over images (jackknife) plus that over trainings, so that a verdict
    is about other trainings too; limits are those of `limit`. Where no variant differs, any of fourteen comparisons is
    announced in at most 6 % of the studies with three trainings, in up to FALSE_ALARMS with two (simulated, however
    much trainings differ; of eight, Satterthwaite's degrees of freedom announce any in 18 and 39 %). NaN with one
    training.
    """
    return _over_trainings(real, list(zip(first, second, strict=True)), distances.kid)


def claims(trained: Sequence[Trained], real: np.ndarray) -> pd.DataFrame:
    """A row for each of `contrasts`, on plain and on rewritten val prompts: what, first, second, prompts; difference,
    low, high, p (of `compare`; below 0, the first is nearer to real images), p_holm over all rows, announced."""
    features, rows = by_variant(trained), []
    for what, first, second in contrasts(list(features)):
        for prompts in ("plain", "rewritten"):
            sides = ([one.features[prompts] for one in features[variant]] for variant in (first, second))
            rows.append({"what": what, "first": first, "second": second, "prompts": prompts}
                        | compare(real, *sides)._asdict())  # fmt: skip
    table = pd.DataFrame(rows, columns=["what", "first", "second", "prompts", *Difference._fields])
    table["p_holm"] = multiplicity.holm(table["p"])
    return table.assign(announced=table["p_holm"] <= multiplicity.LEVEL)


def by_variant(trained: Sequence[Trained]) -> Mapping[str, list[Trained]]:
    """The trainings of each variant, in the order of their seeds."""
    variants = dict.fromkeys(one.variant for one in trained)
    return {variant: [one for one in trained if one.variant == variant] for variant in variants}


def _over_trainings(real: np.ndarray, sides: Sequence[tuple[np.ndarray, ...]], measure: Measure) -> Difference:
    """The mean over trainings of a distance, or of a difference of two, with the interval that `compare` says."""

    def of_each(rows: np.ndarray) -> np.ndarray:
        measured = [[measure(real[rows], side[rows]) for side in training] for training in sides]
        return np.array([first - sum(others) for first, *others in measured])

    values, n = of_each(np.arange(len(real))), len(sides)
    if n < 2:
        return Difference(float(values[0]), np.nan, np.nan, np.nan)
    _, low, high, _ = jackknife(lambda rows: of_each(rows).mean(keepdims=True), len(real))
    of_images = ((high[0] - low[0]) / 2 / stats.t.ppf(0.975, GROUPS - 1)) ** 2  # the jackknife's variance
    of_trainings = values.var(ddof=1) / n
    variance = of_images + of_trainings
    if not variance:
        return Difference(float(values.mean()), float(values.mean()), float(values.mean()), float(values.mean() == 0))
    mean, error = float(values.mean()), float(np.sqrt(variance))
    half = limit(0.05, of_images, of_trainings, n) * error

    def beyond(log_p: float) -> float:
        return float(limit(np.exp(log_p), of_images, of_trainings, n) - abs(mean) / error)

    p = float(np.exp(brentq(beyond, -100, 0))) if beyond(-100) > 0 else 0.0
    return Difference(mean, mean - half, mean + half, p)
