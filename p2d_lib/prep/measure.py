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

WIDTH = 200  # px that a wider image is reduced to before it is measured
COLOUR_SHARE = 0.05  # of the lesion: from here on a colour counts as one of its colours
DARK = 0.02  # of full green light (L* 15): darker than any skin, the corners that a dermatoscope's tube leaves black
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

PATCH = 20 / 256  # of the image's sides: the patches of Bevan & Atapour-Abarghouei
LIGHT_SKIN = (194, 150, 130)  # sRGB of the patch of that name on the ColorChecker (McCamy et al., 1976)

_LINEAR = np.array(
    [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.arange(256) / 255], np.float32
)
_XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
_TO_XYZ = (_XYZ / _XYZ.sum(axis=1, keepdims=True)).T.astype(np.float32)  # relative to the white point D65


def linear(rgb: np.ndarray) -> np.ndarray:
    """Light intensities, float32 in 0..1, of sRGB pixels, uint8 (..., 3). IEC 61966-2-1."""
    return _LINEAR[rgb]


def lab(intensities: np.ndarray) -> np.ndarray:
    """CIELAB under D65, float32 with L* in 0..100, of linear intensities (..., 3). CIE 15:2004."""
    xyz = intensities @ _TO_XYZ
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


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
        **dict(zip(("hair", "ruler"), _dark_strokes(levels), strict=True)),
    }


def _dark_strokes(levels: np.ndarray) -> tuple[float, float]:
    """Share of the image under hair, and the largest number of ticks in one row; levels: grey, 0..255, (h, w)."""
    width = levels.shape[1]
    depth = ndimage.grey_closing(levels, (7, 7)) - levels
    labels, n = ndimage.label(depth > np.maximum(14, 0.12 * ndimage.uniform_filter(levels, 31)), np.ones((3, 3)))
    if not n:
        return 0.0, 0.0
    rows, columns = np.nonzero(labels)
    structure = labels[rows, columns] - 1
    area = np.bincount(structure)
    y, x, yy, xx, xy = (
        np.bincount(structure, v) / area for v in (rows, columns, rows * rows, columns * columns, rows * columns)
    )
    yy, xx, xy = yy - y * y, xx - x * x, xy - x * y  # second moments: each structure's length, width and direction
    spread = np.hypot(xx - yy, 2 * xy)
    long, wide = (np.sqrt(6 * np.maximum(yy + xx + sign * spread, 0) + 1) for sign in (1, -1))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    hair = (long > 0.09 * width) & (long**2 > 5 * area) & (long > 3 * wide)
    tick = np.flatnonzero((long > 0.015 * width) & (long < 0.13 * width) & (wide < 0.025 * width) & (long > 2 * wide))
    if not len(tick):
        return float(area[hair].sum() / levels.size), 0.0
    y, x, angle = y[tick], x[tick], angle[tick]
    turned = np.abs((angle[:, None] - angle + np.pi / 2) % np.pi - np.pi / 2)
    aside = np.abs((x[:, None] - x) * np.cos(angle)[:, None] + (y[:, None] - y) * np.sin(angle)[:, None])
    in_row = (turned < 0.25) & (aside < 0.03 * width)
    return float(area[hair].sum() / levels.size), float(in_row.sum(axis=1).max())


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
    h, w, _ = pixels.shape
    tall, wide = max(1, round(PATCH * h)), max(1, round(PATCH * w))
    angles = []
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
        angles.append(ita(lab(np.median(patch, axis=0))))
    return max(angles)


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
    luminance = _XYZ[1].astype(np.float32)
    as_light_skin = _SKIN * (skin @ luminance) / (_SKIN @ luminance)
    references = np.vstack([_REFERENCES, lab(as_light_skin)])
    pixels = lab(lesion * (as_light_skin / skin))
    # |p - r|^2 less |p|^2, which does not change who is nearest
    nearest = ((references**2).sum(axis=1) - 2 * pixels @ references.T).argmin(axis=1)
    counts = np.bincount(np.append(_OWNER, len(COLOURS))[nearest], minlength=len(COLOURS) + 1)
    return dict(zip(COLOURS, (counts[:-1] / len(lesion)).tolist(), strict=True))
