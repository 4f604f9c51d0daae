"""A lesion before any camera, and what is true of it."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from p2d_lib.prep.phantom.canvas import COARSE_PX, canvas_of
from p2d_lib.prep.phantom.diseases import DISEASES, RADIUS
from p2d_lib.prep.phantom.skin import SKIN, skin_patch, to_lab
from p2d_lib.vocabulary import FEATURES

STRUCTURES = (
    "regular_network", "regular_globules", "blue_grey", "milia_cysts", "comedo_openings", "fissures", "blue_grey_nests",
    "arborising_vessels", "ulceration", "strawberry", "scale", "rosettes", "scar", "lacunae",
)  # fmt: skip
TRUTH = tuple(f"true_{name}" for name in (*FEATURES, *STRUCTURES, "fitzpatrick"))


@dataclass(frozen=True)
class Lesion:
    """A lesion on a patch of skin, before any camera: maps are float32 (n, n, 5) over -HALF..HALF short sides."""

    dx: str
    fitzpatrick: int  # 1..6
    maps: np.ndarray  # amounts of melanin, blood, deep melanin (>= 0); opacity of white, of keratin (0..1)
    mask: np.ndarray  # bool (n, n): inside the outline
    truth: dict  # true_<name> -> 0..1, as rendered


def make_lesion(rng: np.random.Generator, dx: str, fitzpatrick: int | None = None, n: int = COARSE_PX) -> Lesion:
    """One lesion of class `dx` on skin of type `fitzpatrick` (1..6; None: as frequent as in HAM10000).

    n: px of its maps; more of them show the same lesion in more detail. Raises KeyError for an unknown dx.
    """
    add_structures = DISEASES[dx]
    chance = int(rng.choice(6, p=SKIN)) + 1  # always taken from rng, so that the lesion does not depend on the argument
    fitzpatrick = fitzpatrick or chance
    d = skin_patch(rng, n, fitzpatrick, rng.uniform(*RADIUS[dx]))
    skin = np.array([d.melanin.mean(), d.blood.mean(), 0, 0, 0], np.float32)
    add_structures(d)
    mask = _largest(d.height > 0)
    maps = np.stack([d.melanin, d.blood, d.deep, d.white, d.keratin], -1)
    np.maximum(maps, 0, out=maps)
    np.minimum(maps[..., 3:], 0.92, out=maps[..., 3:])
    truth = dict.fromkeys(TRUTH, 0.0) | {f"true_{name}": float(value) for name, value in d.truth.items()}
    truth |= shape_truth(mask) | _colours(maps, mask, skin)
    zones = sum(truth[f"true_{name}"] > 0.3 for name in (
        "atypical_pigment_network", "irregular_blotches", "irregular_dots_globules", "blue_whitish_veil",
        "regression_structures", "irregular_streaks", "blue_grey_nests", "ulceration", "fissures"))  # fmt: skip
    truth["true_lesion_shape_multicomponent"] = min(1.0, zones / 4)
    truth["true_background_skin_tone"] = (fitzpatrick - 1) / 5
    truth["true_fitzpatrick"] = fitzpatrick
    return Lesion(dx, fitzpatrick, maps, mask, truth)


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, n = ndimage.label(mask)
    keep = np.argmax(np.bincount(labels.ravel())[1:]) + 1 if n > 1 else 1
    return ndimage.binary_fill_holes(labels == keep)


def shape_truth(mask: np.ndarray) -> dict:
    """Asymmetry: share that does not fold onto itself, over both principal axes (Stoecker et al. 1992), 0.25 and
    more = 1. Border: perimeter**2 / (4 pi area), 1 for a disc; 2.5 and more = 1."""
    n = len(mask)
    x, y = canvas_of(n).x[mask], canvas_of(n).y[mask]
    x, y = x - x.mean(), y - y.mean()
    axes = np.linalg.eigh(np.cov(x, y))[1]
    grid = np.stack([x, y], 1) @ axes
    bins = np.linspace(-1.2, 1.2, 61)
    plan = np.histogram2d(*grid.T, bins)[0] > 0
    folded = np.mean([np.mean(plan[plan] != np.flip(plan, axis)[plan]) for axis in (0, 1)])
    soft = ndimage.gaussian_filter(mask.astype(np.float32), n / COARSE_PX)
    perimeter = np.hypot(*np.gradient(soft)).sum()  # the total variation of an indicator is its perimeter
    compactness = perimeter**2 / (4 * np.pi * mask.sum())
    return {
        "true_asymmetry": float(min(1, folded / 0.25)),
        "true_border_irregularity": float(np.clip((compactness - 1) / 1.5, 0, 1)),
    }


def _colours(maps: np.ndarray, mask: np.ndarray, skin: np.ndarray) -> dict:
    """What a neutral camera sees; 1: the colour fills half the lesion (blue-grey, black a quarter, white an eighth)."""
    lab, ground = to_lab(maps[mask][:: max(1, mask.sum() // 1500)]), to_lab(skin)
    light, a, b = lab.T
    red = (a - ground[1] > 12) & (a > 1.1 * b) & (light > 22)
    white = (light > ground[0] - 2) & (np.hypot(a, b) < np.hypot(*ground[1:]) - 2)
    blue = (b < 4) & (light < 62) & ~red
    brown = ~red & ~white & ~blue
    shares = {
        "red": red.mean() / 0.5,
        "white": white.mean() / 0.125,
        "blue_grey": blue.mean() / 0.25,
        "black": (light <= 26).mean() / 0.25,
        "dark_brown": (brown & (light > 26) & (light <= 46)).mean() / 0.5,
        "light_brown": (brown & (light > 46) & (np.linalg.norm(lab - ground, axis=1) > 12)).mean() / 0.5,
        "color_variation": np.sqrt(lab.var(0).sum()) / 28,
        "background_skin_contrast": np.linalg.norm(np.median(lab, 0) - ground) / 45,
    }
    return {f"true_{name}": float(min(1.0, share)) for name, share in shares.items()}
