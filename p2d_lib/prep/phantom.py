"""The dermoscopic phantom: images whose truth is known, laid out on disk exactly as HAM10000 is.

Light that comes back from skin is R0 * exp(-sum of extinction x amount) per RGB band, with melanin, blood and melanin
deep in the dermis (which looks blue-grey) as absorbers: Tsumura et al., JOSA A 1999; Jacques, Phys. Med. Biol. 2013;
the parametrisation of S-SYNTH (Kim et al., MICCAI 2024, arXiv 2408.00191). A lesion is a set of maps of these amounts
on a closed outline; its structures follow pattern analysis (Kittler et al., J Am Acad Dermatol 2016). A view is a
camera looking at that lesion: rotation, shift, zoom, light, hair, ruler, ink, gel bubbles.

Lengths are in units of an image's short side. No network is finer than 0.046 of it, 3 px of a 64 px image.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from scipy import fft, ndimage
from skimage.color import rgb2lab
from tqdm import tqdm

from p2d_lib.files import atomic
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX, FEATURES, HAM10000_LESIONS

CAMERAS = ("clinic", "atlas")
STRUCTURES = (
    "regular_network", "regular_globules", "blue_grey", "milia_cysts", "comedo_openings", "fissures", "blue_grey_nests",
    "arborising_vessels", "ulceration", "strawberry", "scale", "rosettes", "scar", "lacunae",
)  # fmt: skip
TRUTH = tuple(f"true_{name}" for name in (*FEATURES, *STRUCTURES, "fitzpatrick"))

# Frequencies of HAM10000_metadata.csv per lesion, rounded.
VIEWS = {  # of 1, 2, 3, ... 6 images of one lesion
    "akiec": (0.66, 0.25, 0.08, 0.01, 0, 0), "bcc": (0.54, 0.36, 0.09, 0.01, 0, 0), "df": (0.53, 0.36, 0.11, 0, 0, 0),
    "bkl": (0.605, 0.305, 0.075, 0.01, 0.0025, 0.0025), "mel": (0.375, 0.455, 0.16, 0.006, 0.002, 0.002),
    "nv": (0.82, 0.13, 0.047, 0.003, 0, 0), "vasc": (0.66, 0.25, 0.08, 0.01, 0, 0),
}  # fmt: skip
AGE = {  # mean and standard deviation, years
    "akiec": (67, 12), "bcc": (67, 14), "bkl": (64, 14), "df": (53, 13), "mel": (61, 15), "nv": (47, 14),
    "vasc": (53, 20),
}  # fmt: skip
AGE_UNKNOWN = {"bkl": 0.012, "mel": 0.002, "nv": 0.008}
FEMALE = {"akiec": 0.35, "bcc": 0.37, "bkl": 0.42, "df": 0.52, "mel": 0.40, "nv": 0.48, "vasc": 0.49}
SEX_UNKNOWN = {"bkl": 0.012, "nv": 0.008}
SITE = {
    "akiec": {"face": 37, "lower extremity": 18, "upper extremity": 18, "back": 10, "chest": 4, "neck": 4, "hand": 4,
              "scalp": 4, "abdomen": 1, "ear": 1},
    "bcc": {"back": 38, "face": 19, "lower extremity": 11, "chest": 10, "upper extremity": 10, "abdomen": 3, "neck": 3,
            "scalp": 3, "trunk": 2, "foot": 1, "unknown": 1},
    "bkl": {"face": 27, "back": 18, "lower extremity": 15, "upper extremity": 9, "trunk": 8, "chest": 7, "abdomen": 5,
            "neck": 3, "scalp": 3, "unknown": 3, "hand": 2, "ear": 1},
    "df": {"lower extremity": 74, "upper extremity": 19, "abdomen": 3, "back": 1, "foot": 1, "genital": 1},
    "mel": {"back": 30, "upper extremity": 18, "lower extremity": 17, "face": 11, "chest": 6, "abdomen": 5, "trunk": 4,
            "neck": 3, "ear": 2, "foot": 2, "scalp": 1, "unknown": 1},
    "nv": {"lower extremity": 23, "trunk": 21, "back": 20, "abdomen": 13, "upper extremity": 9, "foot": 4, "unknown": 3,
           "chest": 2, "face": 1, "genital": 1, "hand": 1, "neck": 1, "acral": 0.2},
    "vasc": {"trunk": 28, "abdomen": 22, "lower extremity": 16, "back": 12, "upper extremity": 6, "face": 5, "chest": 3,
             "hand": 3, "neck": 2, "scalp": 2},
}  # fmt: skip
DX_TYPE = {
    "akiec": {"histo": 1}, "bcc": {"histo": 1}, "mel": {"histo": 1}, "df": {"consensus": 60, "histo": 40},
    "bkl": {"histo": 67, "consensus": 28, "confocal": 5}, "nv": {"follow_up": 69, "histo": 25, "consensus": 6},
    "vasc": {"consensus": 66, "histo": 34},
}  # fmt: skip
SKIN = (0.10, 0.47, 0.33, 0.06, 0.025, 0.015)  # Fitzpatrick I..VI: HAM10000 is European skin
SKIN_MELANIN = (0.08, 0.25, 0.50, 1.0, 1.8, 2.9)  # extinction in the blue band

# Per RGB band. Melanin falls as wavelength**-3.33 (Jacques); blood absorbs green most and red hardly.
R0 = np.array([0.86, 0.70, 0.62], np.float32)  # linear reflectance of skin without pigment and blood
EXTINCTION = np.array(
    [[0.42, 0.69, 1.0], [0.10, 1.0, 0.62], [1.0, 0.76, 0.34]],  # melanin, blood, deep melanin
    np.float32,
)
WHITE, KERATIN = np.array([[0.84, 0.76, 0.74], [0.62, 0.41, 0.20]], np.float32)  # scar and scale; yellow horn

HALF = 0.8  # a lesion's maps lie over -HALF..HALF short sides
COARSE = 160  # px of the maps of an image of up to 192 px; larger images get multiples of it


@dataclass(frozen=True)
class Lesion:
    """A lesion on a patch of skin, before any camera: maps are float32 (n, n, 5) over -HALF..HALF short sides."""

    dx: str
    fitzpatrick: int  # 1..6
    maps: np.ndarray  # amounts of melanin, blood, deep melanin (>= 0); opacity of white, of keratin (0..1)
    mask: np.ndarray  # bool (n, n): inside the outline
    truth: dict  # true_<name> -> 0..1, as drawn


@dataclass(frozen=True)
class View:
    """How one image looks at its lesion."""

    camera: str  # clinic | atlas
    angle: float = 0.0  # radians
    mirror: bool = False
    shift: tuple[float, float] = (0.0, 0.0)  # of the lesion, x and y, short sides
    zoom: float = 1.0  # image px per skin px, before the camera's own
    exposure: float = 1.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)  # gain per band, on top of the camera's
    focus: float = 0.0  # blur, px of a 96 px image, on top of the camera's
    slope: tuple[float, float] = (0.0, 0.0)  # brightness gradient across the image, x and y
    corner: float = 0.0  # how dark the corners go, where the camera has a vignette
    hairs: int = 0
    ruler: bool = False
    ink: bool = False
    bubbles: int = 0
    glints: int = 0
    seed: int = 0  # of where hairs, ruler, ink, bubbles, glints and sensor noise fall

    @property
    def truth(self) -> dict:
        return {
            "true_hair_amount": min(1.0, self.hairs / 12),
            "true_ruler_presence": float(self.ruler),
            "true_ink_markings": float(self.ink),
        }


@dataclass(frozen=True)
class _Optics:
    gain: tuple[float, float, float]
    contrast: float
    lift: float
    zoom: float
    vignette: bool
    blur: float  # standard deviation, px of a 96 px image
    sharpness: float  # how much of what is finer than a px of a 96 px image is added once more


OPTICS = {
    "clinic": _Optics(
        gain=(1.05, 0.98, 0.94), contrast=1.2, lift=0.0, zoom=1.1, vignette=True, blur=0.3, sharpness=0.8
    ),
    "atlas": _Optics(
        gain=(0.92, 0.98, 1.1), contrast=0.85, lift=0.08, zoom=0.85, vignette=False, blur=0.5, sharpness=0.2
    ),
}


# ---------------------------------------------------------------------------------------------- fields on the canvas
class _Canvas:
    """Where each of n x n px lies: x and y (short sides), rho and theta; k2: squared frequencies of a field on it."""

    def __init__(self, n: int):
        self.n = n
        self.y, self.x = np.meshgrid(*[(np.arange(n, dtype=np.float32) + 0.5) / n * 2 * HALF - HALF] * 2, indexing="ij")
        self.rho, self.theta = np.hypot(self.x, self.y), np.arctan2(self.y, self.x)
        ky, kx = np.fft.fftfreq(n, 1 / n)[:, None], np.fft.rfftfreq(n, 1 / n)
        self.k2 = ((ky**2 + kx**2) / (2 * HALF) ** 2).astype(np.float32)
        ky, kx = np.broadcast_arrays(ky, kx)
        # waves from long to short: a finer canvas has those of a coarser one and more
        self.order = np.lexsort((kx.ravel(), ky.ravel(), np.maximum(abs(ky), kx).ravel()))


_canvas = cache(_Canvas)


def _step(value: np.ndarray, width) -> np.ndarray:
    """0 below -width, 1 above width, smooth between."""
    t = np.clip(value / (2 * width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _strokes(lines, shape: tuple[int, int], scale: float, origin=(0.0, 0.0), over: int = 2) -> np.ndarray:
    """Opacity (0..1) of antialiased polylines. lines: (points (n, 2) in x, y; width), both in short sides."""
    sheet = Image.new("L", (shape[1] * over, shape[0] * over))
    pen = ImageDraw.Draw(sheet)
    for points, width in lines:
        path = [tuple(p) for p in (points + origin) * scale * over]
        pen.line(path, 255, max(1, round(width * scale * over)), "curve")
    return np.asarray(sheet.resize(shape[::-1], Image.Resampling.BOX), np.float32) / 255


def _curve(rng, start, angle: float, length: float, bend: float, wander: float, steps: int = 14) -> np.ndarray:
    """A line that bends by about `bend` radians over its length and wanders by `wander`: (steps, 2)."""
    turns = angle + np.linspace(-1, 1, steps) * rng.normal(0, bend / 2) + np.cumsum(rng.normal(0, wander, steps))
    return np.asarray(start) + np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1) * length / steps, 0)


def _tree(rng, start, angle: float, length: float, width: float) -> list:
    """A vessel that branches and thins out."""
    trunk = _curve(rng, start, angle, length, 0.9, 0.22)
    lines = [(trunk, width)]
    if width > 0.009:
        for at in rng.choice(np.arange(3, 14), 2, replace=False):
            turn = rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
            lines += _tree(rng, trunk[at], angle + turn, length * rng.uniform(0.4, 0.7), width * 0.72)
    return lines


# --------------------------------------------------------------------------------------------------------- lesions
class _Drawing:
    """A lesion while it is drawn: skin first, then its class adds to the maps and notes what it added."""

    def __init__(self, rng: np.random.Generator, n: int, radius: float):
        self.rng, self.canvas, self.radius = rng, _canvas(n), radius
        # height: of the outline: 0 on it, 1 at the centre, negative outside
        self.melanin, self.blood, self.deep, self.white, self.keratin, self.height = np.zeros((6, n, n), np.float32)
        self.truth = {}

    # fields of unit variance
    def field(self, transfer: np.ndarray) -> np.ndarray:
        waves, n = np.empty(transfer.size, np.complex64), self.canvas.n
        own = np.random.default_rng(self.rng.integers(2**63))  # what follows does not depend on n
        waves[self.canvas.order] = own.standard_normal((waves.size, 2), np.float32).view(np.complex64)[:, 0]
        noise = fft.irfft2(waves.reshape(transfer.shape) * transfer, s=(n, n))
        noise -= noise.mean()
        return noise / np.sqrt(np.vdot(noise, noise) / noise.size)

    def smooth(self, scale: float) -> np.ndarray:
        """Patches about `scale` wide."""
        return self.field(np.exp((-0.5 * (np.pi * scale) ** 2) * self.canvas.k2))

    def cloud(self, scale: float, slope: float = 2.0) -> np.ndarray:
        """Detail at every size below `scale`."""
        return self.field((self.canvas.k2 + scale**-2) ** (-slope / 2))

    def rough(self, wavelength: float, band: float = 0.25) -> np.ndarray:
        """What repeats about every `wavelength`: ridges, cobbles, furrows."""
        return self.field(np.exp(-0.5 * ((np.sqrt(self.canvas.k2) * wavelength - 1) / band) ** 2))

    # structures, 0..1
    def mesh(self, spacing: float, disorder: float) -> np.ndarray:
        """1 on the lines of a mesh, 0 in its holes. disorder 0: a bent honeycomb; 1: broken lines, holes that merge."""
        k, turn = 4 * np.pi / np.sqrt(3) / spacing, self.rng.uniform(0, np.pi)
        bend = spacing * (0.25 + 0.35 * disorder)
        x, y = (place + bend * self.smooth(2.5 * spacing) for place in (self.canvas.x, self.canvas.y))
        waves = sum(np.cos(k * (x * np.cos(a) + y * np.sin(a))) for a in turn + np.arange(3) * np.pi * 2 / 3)
        waves += (0.5 + 0.9 * disorder) * self.rough(0.87 * spacing, 0.3)
        return _step(-0.2 - waves, 1.2)

    def places(self, where: np.ndarray, count: int) -> np.ndarray:
        """Up to `count` random px of a bool map, (k, 2) of row and column."""
        tried = (self.rng.random((40 * count + 40, 2)) * self.canvas.n).astype(int)
        return tried[where[tuple(tried.T)]][:count]

    def spots(self, where: np.ndarray, count: int, radius: tuple[float, float], stretch=1.0, soft=0.5) -> np.ndarray:
        """Soft discs, each of its own strength, at random places of a bool map; `stretch` > 1 makes ovals."""
        canvas, spots = self.canvas, np.zeros_like(self.melanin)
        for cy, cx in self.places(where, count):
            size, angle, strength = self.rng.uniform(*radius), self.rng.uniform(0, np.pi), self.rng.uniform(0.55, 1)
            reach = int(np.ceil((1 + soft) * size * stretch / (2 * HALF) * canvas.n))
            window = np.s_[max(0, cy - reach) : cy + reach + 1, max(0, cx - reach) : cx + reach + 1]
            x, y = canvas.x[window] - canvas.x[cy, cx], canvas.y[window] - canvas.y[cy, cx]
            along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
            disc = strength * _step(1 - np.hypot(along / stretch, across) / size, soft)
            spots[window] = np.maximum(spots[window], disc)
        return spots

    def strokes(self, lines) -> np.ndarray:
        return _strokes(lines, (self.canvas.n,) * 2, self.canvas.n / (2 * HALF), (HALF, HALF))

    def outline(self, oval: float, lobes: float, ragged: float) -> None:
        """Sets the outline. oval, lobes, ragged: amplitudes relative to the radius."""
        rng, theta = self.rng, self.canvas.theta + self.rng.uniform(0, 2 * np.pi)
        r = 1 + oval * np.cos(2 * theta)
        for k in (1, 3, 4, 5):
            r += lobes * rng.normal(0, 0.75 / k**0.5) * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
        fade = np.clip(1.6 - self.canvas.rho / self.radius, 0.1, 1)  # keeps the noise from growing islands far out
        self.height = 1 - self.canvas.rho / (self.radius * np.maximum(r, 0.35)) + ragged * fade * self.cloud(0.14, 2.4)

    def inside(self, edge: float) -> np.ndarray:
        """1 inside, 0 outside, over an edge about `edge` radii wide, softer here than there."""
        return _step(self.height, edge * np.exp(0.5 * self.smooth(0.3)) + 0.02)

    def chance(self, p: float, low: float = 0.25) -> float:
        """Strength of a structure: 0 with probability 1 - p, else low..1."""
        return float(self.rng.uniform(low, 1)) if self.rng.random() < p else 0.0

    def seen(self, strength: float, where: np.ndarray) -> float:
        """Strength of what was drawn on a map 0..1: in full from a tenth of the lesion on, less below."""
        return strength * min(1.0, float(where[self.height > 0].mean()) / 0.1)


def _skin(rng, n: int, fitzpatrick: int, radius: float) -> _Drawing:
    d = _Drawing(rng, n, radius)
    melanin, blood = SKIN_MELANIN[fitzpatrick - 1] * rng.uniform(0.8, 1.2), rng.uniform(0.12, 0.45)
    creases = _step(0.15 - abs(d.rough(rng.uniform(0.022, 0.045), 0.4)), 0.25)  # the skin's own lines
    furrows = rng.uniform(0.015, 0.04) * d.cloud(0.03, 1.2) + rng.uniform(-0.02, 0.08) * (creases - 0.3)
    d.melanin += melanin * (1 + 0.12 * d.cloud(0.3)) + furrows
    d.blood += blood * (1 + rng.uniform(0.08, 0.28) * d.cloud(rng.uniform(0.05, 0.2))) + furrows
    if rng.random() < 0.3:  # freckled, sun-damaged
        d.melanin += rng.uniform(0.15, 0.6) * _step(d.smooth(rng.uniform(0.07, 0.2)) - 1.4, 1.0)
    if rng.random() < 0.15:  # follicles, each with a paler or a darker ring
        d.melanin += rng.uniform(-0.25, 0.35) * d.spots(d.canvas.rho < 2, 160, (0.012, 0.024))
    if rng.random() < 0.2:  # with vessels of its own
        starts = rng.uniform(-HALF, HALF, (16, 2))
        lines = [(_curve(rng, start, rng.uniform(0, 6.3), 0.25, 1.0, 0.3), 0.009) for start in starts]
        d.blood += rng.uniform(0.1, 0.35) * d.strokes(lines)
    return d


def _nv(d: _Drawing) -> None:
    rng = d.rng
    dysplastic = rng.random() < 0.2
    d.outline(rng.uniform(0, 0.25), rng.uniform(0.0, 0.18 if dysplastic else 0.09), rng.uniform(0.02, 0.08))
    body, level = d.inside(rng.uniform(0.10, 0.40)), rng.uniform(0.5, 3.2)
    centre = np.exp(-((d.canvas.rho / d.radius) ** 2) * 2) * rng.uniform(-0.35, 0.6)
    d.melanin += body * level * (0.7 + centre + rng.uniform(0.08, 0.22) * d.cloud(0.12))
    d.blood += body * rng.uniform(0, 0.7) * (1 + 0.2 * d.cloud(0.1))
    pattern = rng.choice(["network", "globules", "homogeneous"], p=[0.55, 0.25, 0.2])
    # all over the lesion, or in a ring or the centre only
    reach = np.clip(rng.uniform(0.3, 1.1) + rng.uniform(-0.8, 0.8) * d.height, 0.2, 1)
    if pattern == "network":
        strength = rng.uniform(0.35, 1)
        lines = d.mesh(rng.uniform(0.046, 0.068), rng.uniform(0.1, 0.6 if dysplastic else 0.35))
        lines *= 1 + 0.3 * d.smooth(0.15)
        d.melanin += body * strength * (0.45 + 0.5 * level) * (lines - 0.35) * reach
        d.truth["regular_network"] = strength
    elif pattern == "globules":
        strength = rng.uniform(0.35, 1)
        cells = 1 - d.mesh(rng.uniform(0.050, 0.078), rng.uniform(0.2, 0.5))
        d.melanin += body * strength * (0.35 + 0.45 * level) * (cells - 0.5) * reach
        d.truth["regular_globules"] = strength
    if cysts := d.chance(0.08):  # as in some dermal nevi
        d.white = np.maximum(d.white, 0.8 * d.spots(d.height > 0.1, 6, (0.015, 0.03), soft=0.8) * cysts)
        d.truth["milia_cysts"] = cysts
    if dysplastic and rng.random() < 0.5:  # a few dots are no melanoma yet
        d.melanin += 1.5 * body * d.spots(d.height > 0.2, rng.integers(2, 7), (0.018, 0.03))
        d.truth["irregular_dots_globules"] = 0.3


def _mel(d: _Drawing) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.3), rng.uniform(0.03, 0.30), rng.uniform(0.05, 0.22))
    side = rng.uniform(0, 2 * np.pi)
    # one side differs from the other
    sector = 0.5 + 0.5 * np.cos(d.canvas.theta - side) * np.clip(d.canvas.rho / d.radius, 0, 1)
    body, level = d.inside(rng.uniform(0.06, 0.30)), rng.uniform(0.5, 2.8)
    d.melanin += body * level * np.clip(0.75 + 0.3 * d.cloud(0.2) + 0.5 * (sector - 0.5), 0.1, None)
    d.blood += body * (rng.uniform(0, 0.6) + d.chance(0.35) * (1 - sector) * (0.7 + 0.3 * d.cloud(0.1)))
    if network := d.chance(0.55):
        broken = _step(d.smooth(0.14) + 0.3, 0.8)
        lines = d.mesh(rng.uniform(0.055, 0.10), rng.uniform(0.6, 1)) * broken
        d.melanin += body * network * (0.7 + 0.6 * level) * (lines - 0.2)
    if blotch := d.chance(0.45):
        dark = body * blotch * _step(d.cloud(0.25, 2.8) + 1.2 * (sector - 0.5) - 0.7, 0.7)
        d.melanin += 3.5 * dark
        d.deep += 1.0 * dark
        blotch = d.seen(blotch, dark / blotch)
    if dots := d.chance(0.5):
        where = (d.height > -0.03) & (sector + 0.25 * d.smooth(0.15) > 0.55)
        d.melanin += 3.0 * d.spots(where, int(8 + 30 * dots), (0.011, 0.032), 1.2)
    if streaks := d.chance(0.35):
        lines = []
        for angle in side + rng.normal(0, 0.6, int(8 + 14 * streaks)):
            start, length = 0.82 * _rim(d, angle), rng.uniform(0.06, 0.15)
            lines.append((_curve(rng, start, angle + rng.normal(0, 0.2), length, 0.5, 0.05), rng.uniform(0.014, 0.03)))
        d.melanin += (1.0 + 0.8 * level) * ndimage.gaussian_filter(d.strokes(lines), 0.8 * d.canvas.n / COARSE)
    if veil := d.chance(0.4):
        haze = body * _step(d.smooth(0.22) + 0.2 * d.cloud(0.1) - 0.8 * (sector - 0.5) - 0.2, 1.2)
        d.deep += 1.5 * veil * haze
        d.white += 0.3 * veil * haze
        veil = d.seen(veil, haze)
    if regression := d.chance(0.3):
        scar = body * _step(d.cloud(0.2, 2.5) + (0.5 - sector) - 0.3, 0.7)
        d.melanin *= 1 - 0.85 * regression * scar
        d.white += 0.45 * regression * scar
        d.deep += 0.8 * regression * d.spots(scar > 0.5, 22, (0.012, 0.022))
        regression = d.seen(regression, scar)
    d.truth |= {
        "atypical_pigment_network": network, "irregular_blotches": blotch, "irregular_dots_globules": dots,
        "irregular_streaks": streaks, "blue_whitish_veil": veil, "regression_structures": regression,
    }  # fmt: skip


def _rim(d: _Drawing, angle: float) -> np.ndarray:
    """Where a ray from the centre last leaves the lesion: (x, y)."""
    r = np.linspace(0.05, 0.8, 60)
    columns, rows = ((r * f(angle) + HALF) / (2 * HALF) * d.canvas.n for f in (np.cos, np.sin))
    within = d.height[rows.astype(int), columns.astype(int)] > 0
    return r[within][-1] * np.array([np.cos(angle), np.sin(angle)]) if within.any() else np.zeros(2)


def _bkl(d: _Drawing) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.28), rng.uniform(0.02, 0.15), rng.uniform(0.03, 0.14))
    body, level = d.inside(rng.uniform(0.03, 0.10)), rng.uniform(0.4, 2.6)
    warty = rng.uniform(0.08, 0.3) * d.rough(0.08, 0.4)
    d.melanin += body * level * np.clip(0.8 + warty + 0.22 * d.cloud(0.2), 0.1, None)
    d.blood += body * rng.uniform(0, 0.6)
    d.deep += body * max(0.0, rng.uniform(-0.4, 0.5))
    d.keratin += body * rng.uniform(0.0, 0.4) * (1 + 0.3 * d.cloud(0.1))
    if network := d.chance(0.2):  # a solar lentigo may look like a nevus
        lines = d.mesh(rng.uniform(0.050, 0.080), rng.uniform(0.2, 0.7))
        d.melanin += body * network * (0.3 + 0.4 * level) * (lines - 0.35)
    if fissures := d.chance(0.4):
        creases = _step(0.2 - np.abs(d.rough(0.17, 0.35)), 0.25)
        d.melanin += body * fissures * (0.5 + 0.6 * level) * creases
    if comedo := d.chance(0.45):
        spots = d.spots(d.height > 0.12, int(4 + 12 * comedo), (0.018, 0.038), 1.25)
        d.melanin += 2.6 * spots
        d.keratin += 0.25 * spots
    if cysts := d.chance(0.55):
        spots = d.spots(d.height > 0.10, int(5 + 16 * cysts), (0.015, 0.034), soft=0.8)
        d.white = np.maximum(d.white, 0.8 * spots)
    d.truth |= {"milia_cysts": cysts, "comedo_openings": comedo, "fissures": fissures, "regular_network": network}


def _bcc(d: _Drawing) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.25), rng.uniform(0.05, 0.2), rng.uniform(0.05, 0.2))
    body = d.inside(rng.uniform(0.15, 0.5))
    d.blood += body * (rng.uniform(0.1, 0.9) + 0.18 * d.cloud(0.1))
    d.melanin += body * max(0.0, rng.uniform(-0.5, 1.2)) * (0.7 + 0.4 * d.cloud(0.15))
    d.white += body * np.clip(rng.uniform(0, 0.25) + 0.12 * d.cloud(0.1), 0, 1)
    if nests := d.chance(0.65):
        spots = d.spots(d.height > 0.05, int(2 + 9 * nests), (0.022, 0.065), 1.5, soft=0.7)
        d.deep += rng.uniform(1.0, 1.9) * spots
        d.melanin += rng.uniform(0.2, 1.2) * spots
    if vessels := d.chance(0.7 if nests else 1):
        lines = []
        for angle in rng.uniform(0, 2 * np.pi, int(1 + 3 * vessels)):
            start = d.radius * rng.uniform(0.8, 1.2) * np.array([np.cos(angle), np.sin(angle)])
            lines += _tree(rng, start, angle + np.pi + rng.normal(0, 0.5), d.radius * rng.uniform(0.9, 1.5), 0.023)
        d.blood += (0.7 + 0.9 * vessels) * d.strokes(lines) * _step(d.height + 0.35, 0.4)
    if ulcer := d.chance(0.35):
        sore = d.spots(d.height > 0.25, int(1 + 2 * ulcer), (0.06, 0.13), 1.3, 0.9)
        sore = _step(sore * (1 + 0.4 * d.cloud(0.06)) - 0.35, 0.2)
        d.blood += 1.5 * sore
        d.melanin += 1.2 * sore * (1 + 0.5 * d.cloud(0.05))
        d.keratin += 0.35 * sore
    d.truth |= {
        "blue_grey_nests": nests, "arborising_vessels": vessels, "ulceration": ulcer,
        "atypical_vascular_pattern": vessels,
    }  # fmt: skip


def _akiec(d: _Drawing) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.25), rng.uniform(0.05, 0.2), rng.uniform(0.06, 0.20))
    body = d.inside(rng.uniform(0.2, 0.6))
    d.blood += body * (rng.uniform(0.2, 0.7) + 0.2 * d.cloud(0.12))
    pigment = max(0.0, rng.uniform(-0.6, 1.9))
    d.melanin += body * pigment * _step(d.cloud(0.2) + 0.2, 1.2)
    if strawberry := d.chance(0.65):
        net = d.mesh(rng.uniform(0.055, 0.09), rng.uniform(0.1, 0.4))
        patchy = body * np.clip(0.75 + 0.35 * d.smooth(0.15), 0.1, 1.2)
        d.blood += patchy * strawberry * (net - 0.2)
        d.white += patchy * strawberry * 0.5 * _step(0.2 - net, 0.3)
        d.melanin += patchy * pigment * 0.6 * net
    if scale := d.chance(0.5):
        flakes = _step(0.8 * d.cloud(0.08) + 0.8 * d.smooth(0.2) - 1.3, 0.4)
        d.white = np.maximum(d.white, 0.8 * scale * flakes * _step(d.height + 0.05, 0.3))
        d.keratin += 0.3 * scale * body * _step(d.cloud(0.12) - 0.8, 0.5)
        scale = d.seen(scale, flakes)
    if rosettes := d.chance(0.35):
        petals, arm = np.zeros_like(d.white), 3 * d.canvas.n // COARSE
        for cy, cx in d.places(d.height > 0.2, int(3 + 6 * rosettes)):
            petals[[cy - arm, cy + arm, cy, cy], [cx, cx, cx - arm, cx + arm]] = 1
        bright = 9 * ndimage.gaussian_filter(petals, 1.3 * arm / 3) * (arm / 3) ** 2
        d.white = np.maximum(d.white, np.clip(bright, 0, 0.9))
    d.truth |= {
        "strawberry": strawberry, "scale": scale, "rosettes": rosettes, "atypical_vascular_pattern": 0.6 * strawberry,
    }  # fmt: skip


def _df(d: _Drawing) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.2), rng.uniform(0.0, 0.10), rng.uniform(0.03, 0.12))
    body, level = d.inside(rng.uniform(0.3, 0.7)), rng.uniform(0.3, 2.2)
    d.melanin += body * level * (0.6 + 0.12 * d.cloud(0.15))
    d.blood += body * (rng.uniform(0, 0.9) + 0.1 * d.cloud(0.1))
    scar, network = d.chance(0.88, 0.2), d.chance(0.8)
    off = rng.normal(0, 0.1, 2) * d.radius
    reach = (
        rng.uniform(0.30, 0.55)
        * d.radius
        * (1 + rng.uniform(0.1, 0.3) * np.cos(2 * d.canvas.theta + rng.uniform(0, 6)))
    )
    middle = _step(1 - np.hypot(d.canvas.x - off[0], d.canvas.y - off[1]) / reach + 0.22 * d.cloud(0.1), 0.55)
    ring = body * (1 - middle)
    d.blood += ring * max(0.0, rng.uniform(-0.4, 0.6))
    if network:
        lines = d.mesh(rng.uniform(0.046, 0.068), rng.uniform(0.1, 0.5)) * (1 + 0.3 * d.smooth(0.12))
        d.melanin += ring * network * (0.45 + 0.45 * level) * (lines - 0.25)
    d.melanin *= 1 - 0.75 * scar * middle
    d.white += 0.6 * scar * middle * np.clip(1 + 0.3 * d.cloud(0.06), 0, 1.4)
    d.truth |= {"scar": scar, "regular_network": 0.5 * network}


def _vasc(d: _Drawing) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.2), rng.uniform(0.02, 0.12), rng.uniform(0.05, 0.2))
    body, depth = d.inside(rng.uniform(0.04, 0.2)), rng.uniform(0.6, 3.0)
    bluish = max(0.0, rng.uniform(-0.6, 1.3))
    cells = 1 - d.mesh(rng.uniform(0.10, 0.17), rng.uniform(0.2, 0.8))
    lacunae = d.chance(0.88, 0.2)
    full = np.clip(0.85 + 0.4 * d.cloud(0.15), 0.2, None)  # some hold more blood than others
    d.blood += body * depth * (1 - 0.7 * lacunae * (1 - cells)) * full
    d.deep += body * bluish * (0.3 + 0.7 * lacunae * cells) * full
    d.melanin += body * d.chance(0.25) * 3.0 * cells * _step(d.smooth(0.15) - 0.6, 0.4)  # thrombosed: black
    d.white += body * lacunae * rng.uniform(0.05, 0.35) * (1 - cells)
    d.truth |= {"lacunae": lacunae, "atypical_vascular_pattern": 0.3 * lacunae}


_CLASSES = {"akiec": _akiec, "bcc": _bcc, "bkl": _bkl, "df": _df, "mel": _mel, "nv": _nv, "vasc": _vasc}
RADIUS = {  # smallest and largest, short sides
    "akiec": (0.16, 0.44), "bcc": (0.12, 0.44), "bkl": (0.14, 0.44), "df": (0.15, 0.40), "mel": (0.15, 0.46),
    "nv": (0.11, 0.40), "vasc": (0.11, 0.40),
}  # fmt: skip


def draw_lesion(rng: np.random.Generator, dx: str, fitzpatrick: int | None = None, n: int = COARSE) -> Lesion:
    """One lesion of class `dx` on skin of type `fitzpatrick` (1..6; drawn with HAM10000-like frequencies if None).

    n: px of its maps; more of them show the same lesion in more detail. Raises KeyError for an unknown dx.
    """
    draw = _CLASSES[dx]
    drawn = int(rng.choice(6, p=SKIN)) + 1
    fitzpatrick = fitzpatrick or drawn
    d = _skin(rng, n, fitzpatrick, rng.uniform(*RADIUS[dx]))
    skin = np.array([d.melanin.mean(), d.blood.mean(), 0, 0, 0], np.float32)
    draw(d)
    mask = _largest(d.height > 0)
    maps = np.stack([d.melanin, d.blood, d.deep, d.white, d.keratin], -1)
    np.maximum(maps, 0, out=maps)
    np.minimum(maps[..., 3:], 0.92, out=maps[..., 3:])
    truth = dict.fromkeys(TRUTH, 0.0) | {f"true_{name}": float(value) for name, value in d.truth.items()}
    truth |= _shape(mask) | _colours(maps, mask, skin)
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


def _shape(mask: np.ndarray) -> dict:
    """Asymmetry: share that does not fold onto itself, over both principal axes (Stoecker et al. 1992), 0.25 and
    more = 1. Border: perimeter**2 / (4 pi area), 1 for a disc; 2.5 and more = 1."""
    n = len(mask)
    x, y = _canvas(n).x[mask], _canvas(n).y[mask]
    x, y = x - x.mean(), y - y.mean()
    axes = np.linalg.eigh(np.cov(x, y))[1]
    grid = np.stack([x, y], 1) @ axes
    bins = np.linspace(-1.2, 1.2, 61)
    plan = np.histogram2d(*grid.T, bins)[0] > 0
    folded = np.mean([np.mean(plan[plan] != np.flip(plan, axis)[plan]) for axis in (0, 1)])
    soft = ndimage.gaussian_filter(mask.astype(np.float32), n / COARSE)
    perimeter = np.hypot(*np.gradient(soft)).sum()  # the total variation of an indicator is its perimeter
    compactness = perimeter**2 / (4 * np.pi * mask.sum())
    return {
        "true_asymmetry": float(min(1, folded / 0.25)),
        "true_border_irregularity": float(np.clip((compactness - 1) / 1.5, 0, 1)),
    }


def _colours(maps: np.ndarray, mask: np.ndarray, skin: np.ndarray) -> dict:
    """What a neutral camera sees; 1: the colour fills half the lesion (blue-grey, black a quarter, white an eighth)."""
    lab, ground = _lab(maps[mask][:: max(1, mask.sum() // 1500)]), _lab(skin)
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


# ------------------------------------------------------------------------------------------------------ the camera
def _reflectance(maps: np.ndarray) -> np.ndarray:
    """Linear RGB (..., 3) of maps (..., 5)."""
    rgb = R0 * np.exp(-(maps[..., :3] @ EXTINCTION))
    for layer, colour in ((4, KERATIN), (3, WHITE)):
        if (opacity := maps[..., layer, None]).any():
            rgb += opacity * (colour * np.sqrt(np.sqrt(rgb[..., 1:2])) - rgb)
    return rgb


def _sample(maps: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Maps (n, n, c) at places in short sides, bilinear, mirrored beyond their edge: (*rows.shape, c)."""
    n, indices = len(maps), []
    for place in (rows, columns):
        place = (place + HALF) / (2 * HALF) * n - 0.5
        place = np.abs((place + n - 1) % (2 * (n - 1)) - (n - 1))
        low = np.minimum(place.astype(np.int32), n - 2)
        indices.append((low, (place - low)[..., None]))
    (r, u), (c, v) = indices
    flat, at = maps.reshape(n * n, -1), r * n + c
    top = flat[at] * (1 - v) + flat[at + 1] * v
    return top * (1 - u) + (flat[at + n] * (1 - v) + flat[at + n + 1] * v) * u


def _srgb(linear: np.ndarray) -> np.ndarray:
    return np.clip(linear, 0, 1) ** (1 / 2.2)


def _lab(maps: np.ndarray) -> np.ndarray:
    return rgb2lab(_srgb(_reflectance(maps)))


def draw_view(rng: np.random.Generator, camera: str) -> View:
    """A view as chance has it: most without ruler and ink, about half with some hair."""
    return View(
        camera=camera,
        angle=rng.uniform(0, 2 * np.pi),
        mirror=bool(rng.random() < 0.5),
        shift=tuple(rng.normal(0, 0.035, 2)),
        zoom=float(np.exp(rng.normal(0, 0.08))),
        exposure=float(np.exp(rng.normal(0.1, 0.15))),
        focus=rng.uniform(0, 1.0) if rng.random() < 0.5 else 0.0,
        cast=tuple(np.exp(rng.normal(0, 0.08, 3))),
        slope=tuple(rng.normal(0, 0.07, 2)),
        corner=rng.uniform(0.95, 1.0) if rng.random() < 0.2 else rng.uniform(0.3, 0.7),
        hairs=int(rng.geometric(0.17)) if rng.random() < 0.4 else 0,
        ruler=bool(rng.random() < 0.12),
        ink=bool(rng.random() < 0.07),
        bubbles=int(rng.integers(1, 7)) if rng.random() < 0.2 else 0,
        glints=int(rng.geometric(0.03)) if rng.random() < 0.3 else 0,
        seed=int(rng.integers(2**62)),
    )


def render(lesion: Lesion, view: View, size: tuple[int, int] = (128, 96)) -> tuple[np.ndarray, np.ndarray]:
    """One image of a lesion. size: (width, height) px. Returns uint8 (h, w, 3) and its mask, bool (h, w)."""
    (w, h), optics = size, OPTICS[view.camera]
    rng, short = np.random.default_rng(view.seed), min(size)
    y, x = np.indices((h, w), np.float32)
    x, y = (x + 0.5 - w / 2) / short, (y + 0.5 - h / 2) / short

    cos, sin, zoom = np.cos(view.angle), np.sin(view.angle), view.zoom * optics.zoom
    px, py = (x - view.shift[0]) / zoom, (y - view.shift[1]) / zoom
    rows, columns = sin * px + cos * py, (-1 if view.mirror else 1) * (cos * px - sin * py)
    sampled = _sample(np.concatenate([lesion.maps, lesion.mask[..., None]], -1, dtype=np.float32), rows, columns)
    mask = sampled[..., 5] > 0.5

    rgb = _artefacts(_reflectance(sampled[..., :5]), view, rng, x, y)
    pixel = short / 96
    rgb = ndimage.gaussian_filter(rgb, (np.hypot(optics.blur, view.focus) * pixel,) * 2 + (0,), truncate=3)
    rgb += optics.sharpness * (rgb - ndimage.gaussian_filter(rgb, (pixel, pixel, 0), truncate=2))
    light = view.exposure * (1 + view.slope[0] * x + view.slope[1] * y)
    if optics.vignette:
        rim = 0.02 if view.corner > 0.8 else 0.25  # a black tube, or light that falls off
        light = light * (1 - view.corner * _step(np.hypot(x, y) - rng.uniform(0.62, 0.76), rim))
    rgb = _srgb(rgb * light[..., None] * np.array(optics.gain, np.float32) * np.array(view.cast, np.float32))
    rgb = optics.lift + (1 - optics.lift) * (0.6 + optics.contrast * (rgb - 0.6))
    rgb += 0.008 * rng.standard_normal(rgb.shape, np.float32)
    return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8), mask


def _artefacts(rgb: np.ndarray, view: View, rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ink, gel bubbles, hair, glints and the ruler on linear RGB (h, w, 3)."""
    h, w, _ = rgb.shape
    short, corner = min(h, w), np.array([w, h]) / min(h, w) / 2

    def strokes(lines):
        return _strokes(lines, (h, w), short, corner, over=3)[..., None]

    if view.ink:
        angle = rng.uniform(0, 2 * np.pi)
        u = np.array([np.cos(angle), np.sin(angle)])
        start = rng.uniform(0.38, 0.46) * u + 0.25 * np.array([u[1], -u[0]])
        line = _curve(rng, start, angle + np.pi / 2, 0.5, 0.8, 0.02)
        dye = np.array([[1.7, 1.3, 0.35], [1.2, 1.6, 0.5]])[rng.integers(2)]
        thick = ndimage.gaussian_filter(strokes([(line, rng.uniform(0.05, 0.09))]), (0.012 * short,) * 2 + (0,))
        grain = ndimage.gaussian_filter(rng.standard_normal((h, w)), 0.012 * short)  # it runs into the skin's furrows
        thick = _step(thick - 0.5 + 0.1 * (grain / grain.std())[..., None], 0.22)
        rgb = rgb * np.exp(-dye * rng.uniform(0.7, 1.5) * thick)
    for _ in range(view.bubbles):
        cx, cy, r = rng.uniform(-corner[0], corner[0]), rng.uniform(-0.5, 0.5), rng.uniform(0.012, 0.045)
        distance = np.hypot(x - cx, y - cy) / r
        rim = np.exp(-(((distance - 1) / 0.22) ** 2)) * (0.5 + 0.5 * np.cos(np.arctan2(y - cy, x - cx) - 2.2))
        rgb = rgb + (0.4 * rim - 0.04 * (distance < 1))[..., None] * (1 - rgb)
    if view.hairs:
        main, bend, lines = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.9), []
        for middle in rng.uniform(-corner, corner, (view.hairs, 2)):
            angle, length = main + rng.normal(0, 0.45), rng.uniform(0.25, 1.1)
            start = middle - 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
            curve, width = _curve(rng, start, angle, length, bend, 0.015, 24), rng.uniform(0.006, 0.014)
            lines += [(curve[:12], width), (curve[11:19], 0.75 * width), (curve[18:], 0.45 * width)]  # root to tip
        colour = np.array([0.06, 0.035, 0.025]) * rng.uniform(0.3, 2.5)
        rgb = rgb + rng.uniform(0.75, 0.95) * strokes(lines) * (colour - rgb)
    if view.glints:  # the lamp's reflections on scale, wet skin and fine pale hair
        where, angle = rng.normal(0, 0.14, 2), rng.uniform(0, np.pi)
        lines = []
        for at in where + rng.normal(0, 0.16, (view.glints, 2)):
            lines.append((_curve(rng, at, angle + rng.normal(0, 0.5), rng.exponential(0.02), 0.8, 0.1, 5), 0.005))
        rgb = rgb + rng.uniform(0.25, 0.8) * strokes(lines) * (0.9 - rgb)
    if view.ruler:
        angle, along = rng.choice(4) * np.pi / 2 + rng.normal(0, 0.25), np.arange(-0.9, 0.9, 0.06)
        u, v = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        edge = rng.uniform(0.36, 0.43) * v  # within the central square
        ticks = [(np.stack([edge + t * u, edge + t * u + (0.09 if i % 5 == 0 else 0.05) * v]), 0.010)
                 for i, t in enumerate(along)]  # fmt: skip
        rgb = rgb * (1 - 0.9 * strokes(ticks))
    return rgb


# ------------------------------------------------------------------------------------------------------ a data set
def class_shares(tail: float) -> dict[str, float]:
    """Chance of each dx: HAM10000's lesion counts ** tail, normalised (1: its long tail, 0: balanced)."""
    counts = np.array([HAM10000_LESIONS[dx] for dx in DX]) ** float(tail)
    return dict(zip(DX, counts / counts.sum(), strict=True))


def _draw(rng, weights: dict[str, float]) -> str:
    p = np.array(list(weights.values()), float)
    return str(rng.choice(list(weights), p=p / p.sum()))


def draw_patient(rng: np.random.Generator, dx: str) -> dict:
    """dx_type, age (years, steps of 5, NaN unknown), sex and localization with HAM10000's frequencies for the class."""
    age = float(np.clip(5 * np.round(rng.normal(*AGE[dx]) / 5), 0, 85))
    sex = "female" if rng.random() < FEMALE[dx] else "male"
    return {
        "dx_type": _draw(rng, DX_TYPE[dx]),
        "age": np.nan if rng.random() < AGE_UNKNOWN.get(dx, 0) else age,
        "sex": "unknown" if rng.random() < SEX_UNKNOWN.get(dx, 0) else sex,
        "localization": _draw(rng, SITE[dx]),
    }


def _dark(seed: int, lesion_index: int, dx: str, tone_effect: float) -> int | None:
    """A dark skin type for this share of the melanomas, None (as skin types are spread) for the others."""
    rng = np.random.default_rng(derive(seed, "tone", lesion_index))
    return int(rng.integers(5, 7)) if dx == "mel" and rng.random() < tone_effect else None


def write(
    folder: Path,
    n_images: int,
    seed: int,
    tail: float,
    camera: str,
    size: tuple[int, int] = (128, 96),
    tone_effect: float = 0.0,
    progress: bool = True,
) -> None:
    """Lays a phantom data set out as HAM10000 is, with truth.csv beside; replaces `folder` in one step.

    tail: see `class_shares`. camera: clinic | atlas. size: (width, height) px. tone_effect: chance that a melanoma is
    on dark skin (Fitzpatrick V or VI) whatever the other lesions' is, an effect for audits to find. Lesion k is the
    same whatever n_images; the last lesion may show fewer views than it has. Raises ValueError for an unknown camera or
    n_images < 1.
    """
    if camera not in CAMERAS:
        raise ValueError(f"camera is {camera!r}; the phantom has {CAMERAS}")
    if n_images < 1:
        raise ValueError(f"n_images is {n_images}; it must be at least 1")
    shares, metadata, truths = class_shares(tail), [], []
    with atomic(Path(folder)) as partial, tqdm(total=n_images, unit="image", disable=not progress) as bar:
        parts = [partial / f"HAM10000_images_part_{part}" for part in (1, 2)]
        masks = partial / "HAM10000_segmentations_lesion_tschandl"
        for place in (*parts, masks):
            place.mkdir(parents=True)
        lesion_index, n = 0, COARSE * max(1, round(min(size) / 128))
        while len(metadata) < n_images:
            rng = np.random.default_rng(derive(seed, "phantom", lesion_index))
            dx = _draw(rng, shares)
            views = 1 + rng.choice(6, p=VIEWS[dx])
            patient = draw_patient(rng, dx)
            lesion = draw_lesion(rng, dx, _dark(seed, lesion_index, dx, tone_effect), n)
            for view_index in range(min(views, n_images - len(metadata))):
                view_rng = np.random.default_rng(derive(seed, "phantom", lesion_index, view_index))
                view = draw_view(view_rng, camera)
                image, mask = render(lesion, view, size)
                image_id = f"ISIC_{24306 + len(metadata):07d}"  # HAM10000's first number
                part = parts[len(metadata) >= n_images / 2]
                Image.fromarray(image).save(part / f"{image_id}.jpg", quality=95, subsampling=0)
                Image.fromarray(mask.astype(np.uint8) * 255).save(masks / f"{image_id}_segmentation.png")
                row = {"lesion_id": f"PHA_{lesion_index:07d}", "image_id": image_id, "dx": dx}
                metadata.append(row | patient | {"dataset": "phantom"})
                truths.append({"image_id": image_id} | lesion.truth | view.truth)
                bar.update()
            lesion_index += 1
        pd.DataFrame(metadata).to_csv(partial / "HAM10000_metadata.csv", index=False)
        pd.DataFrame(truths)[["image_id", *TRUTH]].to_csv(partial / "truth.csv", index=False, float_format="%.4f")
