"""Colour as light and as the eye sees it, and the colour of skin: CIELAB and the individual typology angle (ITA)."""

import math

import numpy as np

DARK = 0.02  # of full green light (L* 15): darker than any skin, the corners that a dermatoscope's tube leaves black
LIGHT_SKIN = (194, 150, 130)  # sRGB of the patch of that name on the ColorChecker (McCamy et al., 1976)
PATCH = 20 / 256  # of the image's sides: the patches of Bevan & Atapour-Abarghouei

_LINEAR = np.array(
    [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.arange(256) / 255], np.float32
)
_XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
_TO_XYZ = (_XYZ / _XYZ.sum(axis=1, keepdims=True)).T.astype(np.float32)  # relative to the white point D65
LUMINANCE = _XYZ[1].astype(np.float32)  # of linear R, G, B


def linear(rgb: np.ndarray) -> np.ndarray:
    """Light intensities, float32 in 0..1, of sRGB pixels, uint8 (..., 3). IEC 61966-2-1."""
    return _LINEAR[rgb]


def lab(intensities: np.ndarray) -> np.ndarray:
    """CIELAB under D65, float32 with L* in 0..100, of linear intensities (..., 3). CIE 15:2004."""
    xyz = intensities @ _TO_XYZ
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def skin_of(outside: np.ndarray, at_least: float) -> np.ndarray:
    """The skin: median linear intensities (3,) of the pixels outside the lesion, (n, 3), black corners left out.

    NaN where fewer than `at_least` pixels are left.
    """
    skin = outside[outside[:, 1] > DARK]
    return np.median(skin, axis=0) if len(skin) >= at_least else np.full(3, math.nan, np.float32)


def ita(skin: np.ndarray) -> float:
    """Individual typology angle of a skin's CIELAB (3,), degrees: atan2(L* - 50, b*) (Chardon et al., 1991).

    Of all skin outside the lesion, as Kinyanjui et al. (MICCAI 2020) take it. From the camera's pixels, not from a
    colorimeter: descriptive only.
    """
    return math.degrees(math.atan2(skin[0] - 50, skin[2]))


def ita_patches(pixels: np.ndarray) -> float:
    """ITA, degrees, of the lightest of eight patches along the edges: Bevan & Atapour-Abarghouei, DART 2022.

    pixels: linear (h, w, 3). Each patch's median replaces the hair removal of the source; as there, the lesion's
    mask is not used. A bluish patch (b* < 0) goes past 90 degrees. Descriptive only.
    """
    return max(ita(lab(patch)) for patch in edge_patches(pixels))


def edge_patches(pixels: np.ndarray) -> np.ndarray:
    """Median of each of eight patches along the edges of an image, linear (h, w, 3): (8, 3)."""
    h, w, _ = pixels.shape
    tall, wide = max(1, round(PATCH * h)), max(1, round(PATCH * w))
    medians = []
    for row, column in (
        (0.05, 0.5),
        (0.95, 0.5),
        (0.5, 0.05),
        (0.5, 0.95),
        (0.1, 0.1),
        (0.1, 0.9),
        (0.9, 0.1),
        (0.9, 0.9),
    ):
        top, left = (round(at * size - side / 2) for at, size, side in ((row, h, tall), (column, w, wide)))
        patch = pixels[max(0, top) : top + tall, max(0, left) : left + wide].reshape(-1, 3)
        medians.append(np.median(patch, axis=0))
    return np.array(medians)


def on_light_skin(image: np.ndarray) -> np.ndarray:
    """An image, uint8 (h, w, 3), whose intensities are scaled so that the skin along its edges is `LIGHT_SKIN` (von
    Kries): what another skin tone, lamp or camera changes is undone as far as it acts on skin and lesion alike."""
    pixels = linear(image)
    patches = edge_patches(pixels)
    skin = np.median(patches[patches[:, 1] > DARK] if (patches[:, 1] > DARK).any() else patches, axis=0)
    scaled = np.clip(pixels * linear(np.array(LIGHT_SKIN, np.uint8)) / np.maximum(skin, 1e-3), 0, 1)
    srgb = np.where(scaled <= 0.0031308, 12.92 * scaled, 1.055 * scaled ** (1 / 2.4) - 0.055)
    return (255 * srgb + 0.5).astype(np.uint8)
