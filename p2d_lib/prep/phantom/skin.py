"""Skin: how light comes back from it, and the patch of it that a lesion lies on.

Light that comes back from skin is R0 * exp(-sum of extinction x amount) per RGB band, with melanin, blood and melanin
deep in the dermis (which looks blue-grey) as absorbers: Tsumura et al., JOSA A 1999; Jacques, Phys. Med. Biol. 2013;
the parametrisation of S-SYNTH (Kim et al., MICCAI 2024, arXiv 2408.00191).
"""

import numpy as np
from skimage.color import rgb2lab

from p2d_lib.prep.phantom.canvas import HALF, LesionMaps, bent_line, smooth_step

SKIN = (0.10, 0.47, 0.33, 0.06, 0.025, 0.015)  # Fitzpatrick I..VI: HAM10000 is European skin
SKIN_MELANIN = (0.08, 0.25, 0.50, 1.0, 1.8, 2.9)  # extinction in the blue band

# Per RGB band. Melanin falls as wavelength**-3.33 (Jacques); blood absorbs green most and red hardly.
R0 = np.array([0.86, 0.70, 0.62], np.float32)  # linear reflectance of skin without pigment and blood
EXTINCTION = np.array(
    [[0.42, 0.69, 1.0], [0.10, 1.0, 0.62], [1.0, 0.76, 0.34]],  # melanin, blood, deep melanin
    np.float32,
)
WHITE, KERATIN = np.array([[0.84, 0.76, 0.74], [0.62, 0.41, 0.20]], np.float32)  # scar and scale; yellow horn


def skin_patch(rng, n: int, fitzpatrick: int, radius: float) -> LesionMaps:
    """Maps (n, n) of bare skin of type 1..6, with random creases, freckles, follicles and vessels."""
    d = LesionMaps(rng, n, radius)
    melanin, blood = SKIN_MELANIN[fitzpatrick - 1] * rng.uniform(0.8, 1.2), rng.uniform(0.12, 0.45)
    creases = smooth_step(0.15 - abs(d.rough(rng.uniform(0.022, 0.045), 0.4)), 0.25)  # the skin's own lines
    furrows = rng.uniform(0.015, 0.04) * d.cloud(0.03, 1.2) + rng.uniform(-0.02, 0.08) * (creases - 0.3)
    d.melanin += melanin * (1 + 0.12 * d.cloud(0.3)) + furrows
    d.blood += blood * (1 + rng.uniform(0.08, 0.28) * d.cloud(rng.uniform(0.05, 0.2))) + furrows
    if rng.random() < 0.3:  # freckled, sun-damaged
        d.melanin += rng.uniform(0.15, 0.6) * smooth_step(d.smooth(rng.uniform(0.07, 0.2)) - 1.4, 1.0)
    if rng.random() < 0.15:  # follicles, each with a paler or a darker ring
        d.melanin += rng.uniform(-0.25, 0.35) * d.spots(d.canvas.rho < 2, 160, (0.012, 0.024))
    if rng.random() < 0.2:  # with vessels of its own
        starts = rng.uniform(-HALF, HALF, (16, 2))
        lines = [(bent_line(rng, start, rng.uniform(0, 6.3), 0.25, 1.0, 0.3), 0.009) for start in starts]
        d.blood += rng.uniform(0.1, 0.35) * d.strokes(lines)
    return d


def reflectance(maps: np.ndarray) -> np.ndarray:
    """Linear RGB (..., 3) of maps (..., 5)."""
    rgb = R0 * np.exp(-(maps[..., :3] @ EXTINCTION))
    for layer, colour in ((4, KERATIN), (3, WHITE)):
        if (opacity := maps[..., layer, None]).any():
            rgb += opacity * (colour * np.sqrt(np.sqrt(rgb[..., 1:2])) - rgb)
    return rgb


def srgb(linear: np.ndarray) -> np.ndarray:
    """Linear RGB -> display values in 0..1, by a plain gamma of 2.2."""
    return np.clip(linear, 0, 1) ** (1 / 2.2)


def to_lab(maps: np.ndarray) -> np.ndarray:
    """CIELAB (..., 3) of maps (..., 5), as a neutral camera sees them."""
    return rgb2lab(srgb(reflectance(maps)))
