"""Whether a counterfactual pair shows what was asked: one attribute changed, and the lesion the same.

Three questions to each pair, each against a control of this run:

- Has the attribute changed? More of it is measured in side b than in side a, by more than in 95 % of the pairs of the
  same noise in which a word for the lesion was changed instead; and no other attribute has changed more. An attribute
  is measured by a linear readout of an independent extractor or by the pixels (ITA of the skin, hair, ticks), whichever
  tells real images that show it from the others better.
- Is it the same picture of a lesion? The structure of the two sides, without light and contrast, is nearer than that
  of 95 % of the images of one prompt and two seeds: two lesions of one class pass in 5 %.
- Are class and lesion attributes no further apart than in the median of these images? The readout reads them after the
  skin of both sides has been brought to one colour, so that a lesion on dark skin is compared as a lesion.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from p2d_lib import images
from p2d_lib.instruments import colour, obedience
from p2d_lib.instruments.conformal import upper_limit
from p2d_lib.instruments.dark_strokes import hair_and_ruler
from p2d_lib.instruments.pixel_statistics import LUMA
from p2d_lib.models.generate import files
from p2d_lib.sample import counterfactual
from p2d_lib.sample.counterfactual import FEATURE
from p2d_lib.schemas import OTHER_READING
from p2d_lib.vocabulary import DX, FEATURES

AROUND = 10  # the surroundings of a pixel reach over a tenth of the image (one standard deviation)
LEVEL = 0.05  # share of controls that pass
SEEDS = 2  # images of each prompt that are the control; pairs of more images of one prompt are not independent
NOT_LESION = (*FEATURE.values(), "ink_markings", "background_skin_contrast", "evolving")
TOO_FEW = "too few pairs of a control"
UNCHANGED, OTHER_ATTRIBUTE = "attribute not changed", "another attribute changed more"
OTHER_LESION = "another lesion"
QUESTIONS = ("changed_as_asked", "same_lesion", "reads_the_same")
CHANGES = ("distance", "distance_limit", "lesion_change", "lesion_limit", "attribute_change", "attribute_limit")
READOUT, PIXELS = "readout", "pixels"


class Lesions(NamedTuple):
    """What is measured of the lesions in n images, whatever skin they are on."""

    read: np.ndarray  # (n, 29), class and scores of a linear readout, after `colour.on_light_skin`
    structure: np.ndarray  # (n, d), of `structure`


class Appearance(NamedTuple):
    """What is measured of n images."""

    read: np.ndarray  # (n, 29), class and scores of a linear readout of the images as they are
    pixels: np.ndarray  # (n, 3), of `in_pixels`
    lesions: Lesions


def appearance(pixels: np.ndarray, read: Callable[[np.ndarray], np.ndarray]) -> Appearance:
    """Measures images, uint8 (n, h, w, 3); read: what a readout (instruments/readout.py) says of images, (n, 29)."""
    return Appearance(read(pixels), in_pixels(pixels), lesions(pixels, read))


def in_pixels(pixels: np.ndarray) -> np.ndarray:
    """How much of each attribute of FEATURE the pixels of images, uint8 (n, h, w, 3), show: (n, 3).

    skin_tone: minus the ITA, degrees; hair: share of the image; ruler: ticks in a row.
    """
    strokes = np.array([hair_and_ruler((image @ LUMA).astype(np.float32)) for image in pixels]).reshape(-1, 2)
    tones = [-colour.ita_patches(colour.linear(image)) for image in pixels]
    return np.column_stack([tones, strokes])


def measures(known: pd.DataFrame, held_out: np.ndarray, pixels: np.ndarray) -> pd.DataFrame:
    """How each attribute is measured; index attribute, columns by (READOUT or PIXELS), auc, spread.

    known: scores of real images, NaN where they are not known; held_out (n, 29): what readouts that have not seen their
    lesions say of them; pixels (n, 3): of `in_pixels`. auc: area under the ROC curve of images that show the attribute
    (of skin tone, dark ones) against the others, of what has the greater one; PIXELS, and NaN, where real images do not
    say. spread: standard deviation over the real images.
    """
    rows = []
    for k, feature in enumerate(FEATURE.values()):
        level = obedience.levels(feature, known[feature].to_numpy(float))
        shown, usable = obedience.is_present(feature, level), np.isfinite(level)
        readings = {PIXELS: pixels[:, k], READOUT: held_out[:, len(DX) + list(FEATURES).index(feature)]}
        auc = {PIXELS: np.nan}
        if len(set(shown[usable])) == 2:
            auc = {by: roc_auc_score(shown[usable], values[usable]) for by, values in readings.items()}
        by = max(auc, key=auc.get)
        rows.append((by, auc[by], max(readings[by].std(), 1e-9)))
    return pd.DataFrame(rows, index=list(FEATURE), columns=["by", "auc", "spread"])


def lesions(pixels: np.ndarray, read: Callable[[np.ndarray], np.ndarray]) -> Lesions:
    """The part of `appearance` that the control needs."""
    return Lesions(read(np.stack([colour.on_light_skin(image) for image in pixels])), structure(pixels))


def structure(pixels: np.ndarray) -> np.ndarray:
    """Where an image, uint8 (n, h, w, 3), is darker or lighter than its surroundings: (n, h * w), each of length 1.

    The logarithm of the luminance less its mean around, over its deviation around: light, skin tone and contrast are
    gone, and the structure stays.
    """
    light = np.log(colour.linear(pixels) @ colour.LUMINANCE + 0.01)
    around = (0, light.shape[1] / AROUND, light.shape[2] / AROUND)
    detail = light - gaussian_filter(light, around)
    detail = (detail / np.sqrt(gaussian_filter(detail**2, around) + 1e-4)).reshape(len(pixels), -1)
    detail -= detail.mean(axis=1, keepdims=True)
    return detail / np.maximum(np.linalg.norm(detail, axis=1, keepdims=True), 1e-9)


def of_plan(
    plan: pd.DataFrame,
    repeated: pd.DataFrame,
    folder: Path,
    read: Callable[[np.ndarray], np.ndarray],
    measured_by: pd.DataFrame | None,
) -> pd.DataFrame:
    """`check` of the pairs of a plan of `counterfactual.make`; repeated: a plan of `worst_case.make`, the control.

    folder: where `generate` put the images of both. read: images -> (n, 29). Empty where the plan is, and then
    measured_by may be None.
    """
    pairs = counterfactual.pairs(plan)
    if pairs.empty:
        return pairs.assign(**dict.fromkeys(CHANGES, 0.0), **dict.fromkeys((*QUESTIONS, "accepted"), False), reason="")
    control = repeated[repeated.groupby("prompt").cumcount() < SEEDS]
    sampled = appearance(images.load(files(plan, folder)), read)
    seeds = lesions(images.load(files(control, folder)), read)
    return check(pairs, sampled, seeds, control["prompt"], measured_by)


def check(
    pairs: pd.DataFrame, sampled: Appearance, seeds: Lesions, prompts: Sequence[str], measured_by: pd.DataFrame
) -> pd.DataFrame:
    """Each pair with what has changed, `accepted`, and `reason` ("" or the first question that it fails).

    pairs: of `counterfactual.pairs`, places in `sampled`; those of counterfactual.CONTROL are the control of the first
    question and get no row. seeds: the control of the others, images of which several have one of the prompts (n,).
    measured_by: of `measures`. Adds CHANGES (of attributes in standard deviations of real images), most_changed (the
    attribute that changed most), and QUESTIONS, the answers.

    LEVEL: of pairs in which the attribute changes as in the pairs of the control, k / (n + 1) pass the first question,
    the largest such share up to LEVEL (`conformal.upper_limit`; n: pairs of the control). That is exact for pairs that
    have nothing in common. All pairs of a lesion share side a, so fewer pass (simulated, for the 21 control pairs of
    smoke: 3.4 to 4.5 % of 4.5 %). Of pairs of one prompt and two seeds LEVEL at most pass the second question. Fewer
    than 19 pairs of a control accept nothing. Raises ValueError without two images of one prompt.
    """
    places = pd.Series(range(len(prompts))).groupby(np.asarray(prompts))
    control = np.array([pair for _, rows in places for pair in combinations(rows, 2)], int).reshape(-1, 2)
    if not len(control):
        raise ValueError("pairs are judged by images of one prompt and several seeds, and there are none")
    judged = _attribute_changes(pairs, sampled, measured_by)
    a, b = judged["a"].to_numpy(int), judged["b"].to_numpy(int)
    first, second = control.T
    differences = seeds.read[second] - seeds.read[first]
    scale = np.sqrt((differences**2).mean(axis=0))
    judged = judged.assign(
        distance=_distance(sampled.lesions, a, b),
        distance_limit=_lower(_distance(seeds, first, second)),
        lesion_change=_lesion_change(sampled.lesions.read[b] - sampled.lesions.read[a], scale),
        lesion_limit=float(np.median(_lesion_change(differences, scale))),
    )
    moved, most = judged["attribute_change"] > judged["attribute_limit"], judged["most_changed"] == judged["attribute"]
    judged = judged.assign(
        changed_as_asked=moved & most,
        same_lesion=judged["distance"] <= judged["distance_limit"],
        reads_the_same=judged["lesion_change"] <= judged["lesion_limit"],
    )
    reasons = {
        TOO_FEW: ~np.isfinite(judged[["attribute_limit", "distance_limit"]]).all(axis=1),
        UNCHANGED: ~moved,
        OTHER_ATTRIBUTE: ~most,
        OTHER_LESION: ~judged["same_lesion"],
        OTHER_READING: ~judged["reads_the_same"],
    }
    reason = np.select(list(reasons.values()), list(reasons), default="")
    return judged.assign(accepted=reason == "", reason=reason)


def _attribute_changes(pairs: pd.DataFrame, sampled: Appearance, measured_by: pd.DataFrame) -> pd.DataFrame:
    """The pairs without those of the control, with attribute_change, attribute_limit and most_changed."""
    names = list(FEATURE)
    read = sampled.read[:, [len(DX) + list(FEATURES).index(feature) for feature in FEATURE.values()]]
    amounts = np.where(measured_by["by"] == READOUT, read, sampled.pixels) / measured_by["spread"].to_numpy()
    changes = amounts[pairs["b"].to_numpy(int)] - amounts[pairs["a"].to_numpy(int)]
    is_control = (pairs["attribute"] == counterfactual.CONTROL).to_numpy()
    limits = np.array([max(0.0, _upper(column)) for column in changes[is_control].T])
    judged, changes = pairs[~is_control].reset_index(drop=True), changes[~is_control]
    k = judged["attribute"].map(names.index).to_numpy(int)
    most = np.array(names)[changes.argmax(axis=1)]
    return judged.assign(attribute_change=changes[range(len(k)), k], attribute_limit=limits[k], most_changed=most)


def _lesion_change(differences: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Root mean square (n,) of the differences (n, 29) of class and lesion attributes, in units of `scale`."""
    lesion = [*DX, *(name not in NOT_LESION and name for name in FEATURES)]
    used = np.array([bool(name) for name in lesion]) & (scale > 1e-9)
    return np.sqrt(((differences[:, used] / scale[used]) ** 2).mean(axis=1))


def _distance(sampled: Lesions, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 - correlation (n,) of the structure of images a and b (n,); noise is shared, so no turn is tried."""
    return 1 - (sampled.structure[a] * sampled.structure[b]).sum(axis=1)


def _upper(control: np.ndarray) -> float:
    """The value that one more value like the control's exceeds with probability LEVEL at most; infinity if none is."""
    limit, chance = upper_limit(control, LEVEL)
    return limit if chance <= LEVEL else np.inf


def _lower(control: np.ndarray) -> float:
    """The value that one more value like the control's lies below with probability LEVEL at most."""
    return -_upper(-control)
