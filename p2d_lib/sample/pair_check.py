"""Whether a counterfactual pair shows what was asked: one attribute changed, and the lesion the same.

Three questions to each pair, each against a control of this run:

- Has the attribute changed? A linear readout of an independent extractor reads more of it in side b than in side a, by
  more than it does in 95 % of the pairs of the same noise in which another word was changed. What the pixels measure
  (ITA of the skin, hair, ticks) must not say the opposite; it decides where real images show that the readout cannot.
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

from p2d_lib import images
from p2d_lib.instruments import colour
from p2d_lib.instruments.conformal import upper_limit
from p2d_lib.instruments.dark_strokes import hair_and_ruler
from p2d_lib.instruments.pixel_statistics import LUMA
from p2d_lib.models.generate import files
from p2d_lib.sample import counterfactual
from p2d_lib.sample.counterfactual import FEATURE
from p2d_lib.vocabulary import DX, FEATURES

AROUND = 10  # the surroundings of a pixel reach over a tenth of the image (one standard deviation)
LEVEL = 0.05  # share of controls that pass
SEEDS = 2  # images of each prompt that are the control; pairs of more images of one prompt are not independent
NOT_LESION = (*FEATURE.values(), "ink_markings", "background_skin_contrast", "evolving")
UNCHANGED, OTHER_LESION, OTHER_READING = "attribute not changed", "another lesion", "lesion reads otherwise"
CHANGES = (
    "distance",
    "distance_limit",
    "lesion_change",
    "lesion_limit",
    "attribute_change",
    "attribute_limit",
    "pixel_change",
)


class Lesions(NamedTuple):
    """What is measured of the lesions in n images, whatever skin they are on."""

    read: np.ndarray  # (n, 29), class and scores of a linear readout, after `colour.on_light_skin`
    structure: np.ndarray  # (n, d), of `structure`


class Appearance(NamedTuple):
    """What is measured of n images."""

    read: np.ndarray  # (n, 29), class and scores of a linear readout of the images as they are
    pixels: pd.DataFrame  # skin_tone (degrees, minus the ITA), hair (share of the image), ruler (ticks)
    lesions: Lesions


def appearance(pixels: np.ndarray, read: Callable[[np.ndarray], np.ndarray]) -> Appearance:
    """Measures images, uint8 (n, h, w, 3); read: what a readout (instruments/readout.py) says of images, (n, 29)."""
    strokes = [hair_and_ruler((image @ LUMA).astype(np.float32)) for image in pixels]
    measured = pd.DataFrame(strokes, columns=["hair", "ruler"], dtype=float)
    measured["skin_tone"] = [-colour.ita_patches(colour.linear(image)) for image in pixels]
    return Appearance(read(pixels), measured, lesions(pixels, read))


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
    readable: Sequence[str],
) -> pd.DataFrame:
    """`check` of the pairs of a plan of `counterfactual.make`; repeated: a plan of `worst_case.make`, the control.

    folder: where `generate` put the images of both. read: images -> (n, 29). Empty where the plan is.
    """
    pairs = counterfactual.pairs(plan)
    if pairs.empty:
        return pairs.assign(**dict.fromkeys(CHANGES, 0.0), accepted=False, reason="")
    control = repeated[repeated.groupby("prompt").cumcount() < SEEDS]
    sampled = appearance(images.load(files(plan, folder)), read)
    seeds = lesions(images.load(files(control, folder)), read)
    return check(pairs, sampled, seeds, control["prompt"], readable)


def check(
    pairs: pd.DataFrame, sampled: Appearance, seeds: Lesions, prompts: Sequence[str], readable: Sequence[str]
) -> pd.DataFrame:
    """Each pair with what has changed, `accepted`, and `reason` ("" or the first question that it fails).

    pairs: of `counterfactual.pairs`, places in `sampled`. seeds: the control, images of which several have one of the
    prompts (n,). readable: the features that the readout can read on real images. Adds the columns attribute_change (of
    the readout, or of the pixels where it cannot read the attribute), attribute_limit, pixel_change, distance,
    distance_limit, lesion_change, lesion_limit. Raises ValueError without two images of one prompt.
    """
    places = pd.Series(range(len(prompts))).groupby(np.asarray(prompts))
    control = np.array([pair for _, rows in places for pair in combinations(rows, 2)], int).reshape(-1, 2)
    if not len(control):
        raise ValueError("pairs are judged by images of one prompt and several seeds, and there are none")
    a, b = pairs["a"].to_numpy(int), pairs["b"].to_numpy(int)
    first, second = control.T
    differences = seeds.read[second] - seeds.read[first]
    scale = np.sqrt((differences**2).mean(axis=0))
    judged = pairs.assign(
        distance=_distance(sampled.lesions, a, b),
        distance_limit=_lower(_distance(seeds, first, second)),
        lesion_change=_lesion_change(sampled.lesions.read[b] - sampled.lesions.read[a], scale),
        lesion_limit=float(np.median(_lesion_change(differences, scale))),
    )
    judged = _attribute_changes(judged, sampled, readable)
    unchanged = ~(judged["attribute_change"] > judged["attribute_limit"]) | (judged["pixel_change"] < 0)
    reasons = {
        UNCHANGED: unchanged,
        OTHER_LESION: ~(judged["distance"] <= judged["distance_limit"]),
        OTHER_READING: ~(judged["lesion_change"] <= judged["lesion_limit"]),
    }
    reason = np.select(list(reasons.values()), list(reasons), default="")
    return judged.assign(accepted=reason == "", reason=reason)


def _attribute_changes(judged: pd.DataFrame, sampled: Appearance, readable: Sequence[str]) -> pd.DataFrame:
    """Adds attribute_change, attribute_limit (from the pairs that change another attribute) and pixel_change."""
    columns = dict.fromkeys(("attribute_change", "attribute_limit", "pixel_change"), np.nan)
    judged, a, b = judged.assign(**columns), judged["a"].to_numpy(int), judged["b"].to_numpy(int)
    for name, feature in FEATURE.items():
        of_attribute = (judged["attribute"] == name).to_numpy()
        measured = sampled.pixels[name].to_numpy()
        in_pixels = measured[b] - measured[a]
        read = sampled.read[:, len(DX) + list(FEATURES).index(feature)]
        change = read[b] - read[a] if feature in readable else in_pixels
        judged.loc[of_attribute, "attribute_change"] = change[of_attribute]
        judged.loc[of_attribute, "pixel_change"] = in_pixels[of_attribute]
        judged.loc[of_attribute, "attribute_limit"] = _upper(change[~of_attribute])
    return judged


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
