"""What mask and pixels measure: of the lesion its size, asymmetry, border, colours and contrast to the skin; of the
skin its tone; of the picture its entropy, sharpness, hair and ruler.

Measured at one working width, so that numbers from larger images compare; smaller ones are not enlarged, and entropy
is that of the published size.
"""

import math

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.ndimage import gaussian_filter
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from p2d_lib.instruments.colour import LIGHT_SKIN, LUMINANCE, ita, ita_patches, lab, linear, skin_of
from p2d_lib.instruments.dark_strokes import hair_and_ruler

WIDTH = 200  # px that a wider image is reduced to before it is measured
COLOUR_SHARE = 0.05  # of the lesion: from here on a colour counts as one of its colours
COVER = 0.01  # of the image: with less skin than this the skin is not measured

# The six colours of the ABCD rule of dermoscopy (Nachbar et al., J Am Acad Dermatol 30(4), 1994), each as the sRGB
# centroids of the ISCC-NBS names of that colour (Kelly & Judd, NBS Special Publication 440, 1976).
COLOURS = {
    "light_brown": "a67b5b c19a6b a87c6d 958070 977f73 ae9b82 996515",  # light browns; strong yellowish
    "dark_brown": (
        "6f4e37 80461b 593319 422518 635147 3e322c 79443b 882d17 56070c 3e1d1e 674c47 43302e 826644 654522 4b3621"
        " 7e6d5a 483c32"  # moderate, strong, deep, dark, greyish; reddish and yellowish likewise
    ),
    "black": "222222 28201c 202428 242124 282022 2e1d21",  # black; brownish, bluish, purplish, reddish; blackish red
    "red": (
        "be0032 bc3f4a 841b2d ab4e52 722f37 905d5d b3446c 78184a a8516e 673147 915f6d ad8884 af868e"
        " e4717a c08081"  # vivid, strong, deep, moderate, dark, greyish; purplish likewise; deep and dark pink
    ),
    "white": "f2f3f4 eae3e1 e9e9ed ead8d7 c1b6b3 b9b8b5",  # white; pinkish, bluish; pale pink, pinkish and light grey
    "blue_grey": "81878b 51585e b4bcc0 536878 36454f 8b8589 5d555b 848482 555555",  # bluish and purplish greys, grey
}
COLOURS = {name: tuple(tuple(bytes.fromhex(hue)) for hue in hues.split()) for name, hues in COLOURS.items()}
NAMES = (
    "area", "diameter", "asymmetry", "border_irregularity", *COLOURS, "n_colors", "color_spread", "skin_contrast",
    "skin_lightness",
)  # fmt: skip


_REFERENCES = lab(linear(np.array([hue for hues in COLOURS.values() for hue in hues], np.uint8)))
_OWNER = np.repeat(np.arange(len(COLOURS)), [len(hues) for hues in COLOURS.values()])
_SKIN = linear(np.array(LIGHT_SKIN, np.uint8))


def measure(image: Image.Image, mask: Image.Image | None) -> dict[str, float]:
    """The columns of `schemas.MEASUREMENTS` (but image_id), `ita` and `ita_patches` of one image.

    image: RGB. mask: its lesion, bright inside, of the same shape in any size. Without a mask, or with an empty one,
    everything is NaN: nothing is then known of lesion or skin.
    """
    size = width, _ = _working_size(image)
    inside = np.asarray(mask.convert("L").resize(size, Image.Resampling.BOX)) >= 128 if mask else np.zeros(1, bool)
    if not inside.any():
        return dict.fromkeys((*NAMES, "ita", "ita_patches"), math.nan)
    pixels = linear(np.asarray(image.resize(size, Image.Resampling.BOX)))
    lesion, skin = pixels[inside], skin_of(pixels[~inside], COVER * inside.size)
    skin_lab, lesion_lab = lab(skin), lab(lesion)
    shares = colour_shares(lesion, skin)
    return {
        "area": float(inside.mean()),
        "diameter": diameter(inside) * image.width / width,
        "asymmetry": asymmetry(inside),
        "border_irregularity": border_irregularity(inside),
        **shares,
        "n_colors": sum((share >= COLOUR_SHARE) + 0 * share for share in shares.values()),
        "color_spread": float(np.sqrt(lesion_lab.var(axis=0).sum())),
        "skin_contrast": float(np.linalg.norm(np.median(lesion_lab, axis=0) - skin_lab)),
        "skin_lightness": float(skin_lab[0]),
        "ita": ita(skin_lab),
        "ita_patches": ita_patches(pixels),
    }


def _working_size(image: Image.Image) -> tuple[int, int]:
    width = min(WIDTH, image.width)
    return width, max(1, round(width * image.height / image.width))


def quality(image: Image.Image) -> dict[str, float]:
    """The quality of a whole picture, RGB: the columns entropy, sharpness, hair and ruler of `schemas.CASES`.

    entropy: Shannon's, of the 256-bin grey histogram, bits. sharpness: variance of the Laplacian of the grey levels
    0..255 (Pech-Pacheco et al., ICPR 2000). hair: share of the picture, 0..1, under long thin dark structures, found
    by closing as in DullRazor (Lee et al., Comput Biol Med 27(6), 1997). ruler: how many short dark strokes stand in
    one row and in parallel, as a scale's ticks do; from about 7 on there is one.
    """
    grey = image.convert("L")
    levels = np.asarray(grey.resize(_working_size(image), Image.Resampling.BOX), np.float32)
    return {
        "entropy": grey.entropy(),
        "sharpness": float(ndimage.laplace(levels).var()),
        **dict(zip(("hair", "ruler"), hair_and_ruler(levels), strict=True)),
    }


def diameter(inside: np.ndarray) -> float:
    """The largest distance across a mask, bool (h, w), in px: the maximal Feret diameter."""
    points = np.argwhere(inside)
    try:
        points = points[ConvexHull(points).vertices]
    except QhullError:  # all on one line, or fewer than three
        points = points[[0, -1]]
    return float(pdist(points).max()) + 1


def asymmetry(inside: np.ndarray) -> float:
    """Share of the lesion that has no counterpart when it is folded over a principal axis, mean of the two; 0..1.

    0 for an ellipse. After Stoecker, Li, Moss, Comput Med Imaging Graph 16(3), 1992. A lesion that the frame cuts
    counts as cut.
    """
    points = np.argwhere(inside)
    centred = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    unmatched = []
    for axis in axes.T:
        mirrored = np.rint(points - 2 * np.outer(centred @ axis, axis)).astype(int)
        within = ((mirrored >= 0) & (mirrored < inside.shape)).all(axis=1)
        unmatched.append(1 - inside[tuple(mirrored[within].T)].sum() / len(points))
    return float(np.mean(unmatched))


def border_irregularity(inside: np.ndarray) -> float:
    """1 - 4 pi area / perimeter^2: 0 for a disc, towards 1 the more the border winds.

    One less the inverse of the irregularity index of Golston, Stoecker, Moss, Dhillon, Comput Med Imaging Graph
    16(3), 1992. The perimeter is the total variation of the mask smoothed by one pixel (the co-area formula), which
    the pixels' stairs do not lengthen in any direction.
    """
    soft = gaussian_filter(np.pad(inside, 4).astype(np.float32), 1)
    perimeter = np.hypot(*np.gradient(soft)).sum()
    return float(np.clip(1 - 4 * math.pi * inside.sum() / perimeter**2, 0, 1))


def colour_shares(lesion: np.ndarray, skin: np.ndarray) -> dict[str, float]:
    """Share of the lesion's pixels, linear (n, 3), whose nearest reference (Delta E 1976) is each of COLOURS; 0..1.

    Colours are compared with the image's own skin, linear (3,): intensities are scaled so that this skin takes the hue
    of `LIGHT_SKIN` at its own luminance (von Kries), which undoes the tint of lamp and camera; and the skin is one
    more reference that belongs to no colour, so that white is whiter than this skin, as the ABCD rule demands, and the
    shares need not sum to 1. NaN where there is no skin to compare with.
    """
    if np.isnan(skin).any():
        return dict.fromkeys(COLOURS, math.nan)
    as_light_skin = _SKIN * (skin @ LUMINANCE) / (_SKIN @ LUMINANCE)
    references = np.vstack([_REFERENCES, lab(as_light_skin)])
    pixels = lab(lesion * (as_light_skin / skin))
    # |p - r|^2 less |p|^2, which does not change who is nearest
    nearest = ((references**2).sum(axis=1) - 2 * pixels @ references.T).argmin(axis=1)
    counts = np.bincount(np.append(_OWNER, len(COLOURS))[nearest], minlength=len(COLOURS) + 1)
    return dict(zip(COLOURS, (counts[:-1] / len(lesion)).tolist(), strict=True))
