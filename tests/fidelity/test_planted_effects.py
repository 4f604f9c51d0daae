"""Each measure of 05, by an independent extractor, follows the dose of what was planted in real images.

The extractor is EfficientNet-Lite0 with ImageNet weights, the images are phantom lesions of 64 px, one a lesion. All
sets have as many images; two sets of untouched images show what no effect looks like.
"""

import io
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from p2d_lib.instruments import distances, two_sample
from p2d_lib.instruments.extrapolation import frechet_at_infinity, principal
from p2d_lib.instruments.jackknife import jackknife
from p2d_lib.instruments.mmd import cmmd
from p2d_lib.instruments.overfitting import overfitting
from p2d_lib.instruments.pixel_statistics import band_power, border_ratio, step_energy
from p2d_lib.instruments.vendi import vendi
from p2d_lib.models.extractors import Extractor
from p2d_lib.prep import phantom
from p2d_lib.vocabulary import DX

A_CLASS, SIDE = 6, 64
N = A_CLASS * len(DX)
DOSES = {
    "blur": (0.7, 1.5),  # standard deviation in px
    "jpeg": (30, 8),  # quality
    "noise": (10, 30),  # standard deviation in grey levels
    "hue": (25, 80),  # degrees
    "blocks": (2, 4),  # px whose mean is shown
    "classes": (3, 1),  # that remain of seven
}


def planted(images: np.ndarray, effect: str, dose: float) -> np.ndarray:
    return np.stack([EFFECTS[effect](image, dose, np.random.default_rng(k)) for k, image in enumerate(images)])


def blur(image, sigma, rng):
    return gaussian_filter(image, (sigma, sigma, 0))


def jpeg(image, quality, rng):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=quality)
    return np.asarray(Image.open(buffer))


def noise(image, sigma, rng):
    return (image + rng.normal(0, sigma, image.shape)).round().clip(0, 255).astype(np.uint8)


def hue(image, degrees, rng):
    hsv = np.array(Image.fromarray(image).convert("HSV"))
    hsv[..., 0] += np.uint8(degrees / 360 * 256)  # wraps around
    return np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))


def blocks(image, px, rng):
    small = image.reshape(SIDE // px, px, SIDE // px, px, 3).mean((1, 3))
    return small.round().astype(np.uint8).repeat(px, 0).repeat(px, 1)


EFFECTS = {"blur": blur, "jpeg": jpeg, "noise": noise, "hue": hue, "blocks": blocks}


@cache
def lesion(dx: str, number: int) -> np.ndarray:
    rng = np.random.default_rng([DX.index(dx), number])
    return phantom.render(phantom.make_lesion(rng, dx), phantom.make_view(rng, "clinic"), (SIDE, SIDE))[0]


def lesions(first: int, classes=DX) -> np.ndarray:
    """N lesions, as many of each class, that begin with number `first` of each."""
    return np.stack([lesion(dx, first + k) for dx in classes for k in range(N // len(classes))])


NONE = ("none", 0)
COMPONENTS = N // 3


@pytest.fixture(scope="module")
def sets() -> dict:
    """Images and features of the reference, of other real images, and of these with each effect at each dose."""
    images = {"reference": lesions(100), NONE: lesions(0)}
    for effect, doses in DOSES.items():
        for dose in doses:
            kept = ("nv", "mel", "bkl")[:dose] if effect == "classes" else ()
            images[effect, dose] = lesions(0, kept) if kept else planted(images[NONE], effect, dose)
    extractor = Extractor("efficientnet_lite0", torch.device("cpu"))
    return {name: (pixels, extractor(pixels)) for name, pixels in images.items()}


@pytest.fixture(scope="module")
def measures(sets) -> pd.DataFrame:
    """Every measure between the reference and each other set, one row a set."""
    reference = sets["reference"][1]

    def row(features):
        return {
            "frechet": distances.frechet(reference, features),
            "frechet at infinity": frechet_at_infinity(*principal(reference, features, COMPONENTS)),
            "kid": distances.kid(reference, features),
            "cmmd": cmmd(reference, features),
            "auc": two_sample.auc(reference, features),
            **distances.prdc(reference, features),
            "vendi": vendi(features),
        }

    return pd.DataFrame({name: row(features) for name, (_, features) in sets.items() if name != "reference"}).T


@pytest.mark.parametrize("effect", DOSES)
@pytest.mark.parametrize("measure", ["frechet", "frechet at infinity", "kid", "cmmd", "auc"])
def test_each_distance_grows_with_the_dose_of_each_effect(measures, measure, effect):
    untouched, faint, strong = (measures.at[name, measure] for name in doses(effect))
    assert untouched < faint <= strong, (untouched, faint, strong)
    assert faint < strong or measure == "auc"  # whose largest value is 1


@pytest.mark.parametrize("effect", DOSES)
def test_coverage_and_recall_fall_with_the_dose_of_each_effect(measures, effect):
    for measure in ("coverage", "recall"):
        untouched, faint, strong = (measures.at[name, measure] for name in doses(effect))
        assert untouched >= faint >= strong and untouched - strong > 0.15, (measure, untouched, faint, strong)


@pytest.mark.parametrize("effect", DOSES)
def test_density_falls_with_each_effect_at_its_larger_dose(measures, effect):
    """Faint noise it does not see: a noisy image stays inside the balls of real ones."""
    assert measures.at[(effect, DOSES[effect][-1]), "density"] < 0.85 * measures.at[NONE, "density"]


def test_precision_calls_noisy_and_blocky_images_good_that_the_classifier_always_knows(measures):
    """Why precision is printed only where its controls allow it."""
    for name in (("noise", 30), ("blocks", 4)):
        assert measures.at[name, "precision"] > 0.85 * measures.at[NONE, "precision"]
        assert measures.at[name, "auc"] > 0.95


def test_variety_falls_with_the_number_of_distinct_images_and_with_what_blur_and_blocks_remove(sets, measures):
    features = sets[NONE][1]
    repeated = [vendi(features[np.arange(N) // (N // distinct) * (N // distinct)]) for distinct in (42, 21, 7, 1)]
    assert repeated == sorted(repeated, reverse=True) and repeated[-1] == pytest.approx(1, abs=1e-3)
    for effect in ("blur", "noise", "blocks"):
        untouched, faint, strong = (measures.at[name, "vendi"] for name in doses(effect))
        assert untouched > faint > strong


def test_two_sets_of_untouched_images_are_alike_in_every_measure(sets, measures):
    """Intervals hold 0; only the plain distance is far above it."""
    reference, other = (sets[name][1] for name in ("reference", NONE))
    inside = principal(reference, other, 10)  # fewer, since a replicate has a tenth fewer images

    def values(rows):
        return np.array([
            frechet_at_infinity(*(x[rows] for x in inside)),
            distances.kid(reference[rows], other[rows]),
            cmmd(reference[rows], other[rows]),
            two_sample.auc(reference[rows], other[rows]) - 0.5,
        ])  # fmt: skip

    estimates = jackknife(values, N)
    assert (estimates.low <= 0).all() and (estimates.high >= 0).all(), estimates
    assert measures.at[NONE, "frechet"] > 100
    assert 0.35 < measures.at[NONE, "auc"] < 0.65
    assert measures.at[NONE, "coverage"] > 0.9 and measures.at[NONE, "density"] == pytest.approx(1, abs=0.2)


def test_pixels_alone_show_blur_noise_jpeg_and_blocks_and_call_untouched_images_alike(sets):
    def bands(name):
        return band_power(sets[name][0]).mean(axis=0) / band_power(sets["reference"][0]).mean(axis=0)

    def border(name, block):
        return border_ratio(step_energy(sets[name][0], block))[0]

    high = {effect: [bands(name)[4] for name in doses(effect)] for effect in ("blur", "noise")}
    assert high["blur"] == sorted(high["blur"], reverse=True) and high["blur"][-1] < 0.05
    assert high["noise"] == sorted(high["noise"]) and high["noise"][-1] > 2
    jpeg = [border(name, 8) for name in doses("jpeg")]
    assert jpeg == sorted(jpeg) and jpeg[1] > 1.5
    assert border(("blocks", 2), 2) == border(("blocks", 4), 4) == np.inf
    np.testing.assert_allclose(bands(NONE), 1, atol=0.35)
    assert all(border(name, block) == pytest.approx(1, abs=0.12) for name in ("reference", NONE) for block in (4, 8))


def test_copies_behind_blur_noise_jpeg_or_another_hue_are_called_and_other_lesions_are_not(sets):
    dx = np.repeat(np.arange(len(DX)), A_CLASS)
    train, unseen = ((sets[name][1], dx) for name in (NONE, "reference"))
    for effect, dose in (("blur", 0.7), ("noise", 10), ("jpeg", 30), ("hue", 25)):
        assert overfitting(train, unseen, (sets[effect, dose][1], dx), 199).p <= 0.01, (effect, dose)
    nevi = sets["classes", 1][1]
    thirds = [(nevi[third::3], np.zeros(N // 3)) for third in range(3)]
    assert overfitting(*thirds, 199).p > 0.05


def doses(effect: str) -> list[tuple[str, float]]:
    """The names of the untouched set and of those with each dose of an effect."""
    return [NONE, *((effect, dose) for dose in DOSES[effect])]
