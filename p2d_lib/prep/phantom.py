"""The dermoscopic phantom: images whose truth is known, laid out on disk exactly as HAM10000 is.

Light that comes back from skin is R0 * exp(-sum of extinction x amount) per RGB band, with melanin, blood and melanin
deep in the dermis (which looks blue-grey) as absorbers: Tsumura et al., JOSA A 1999; Jacques, Phys. Med. Biol. 2013;
the parametrisation of S-SYNTH (Kim et al., MICCAI 2024, arXiv 2408.00191). A lesion is a set of maps of these amounts
on a closed outline; its structures follow pattern analysis (Kittler et al., J Am Acad Dermatol 2016). A view is a
camera looking at that lesion: rotation, shift, zoom, light, hair, ruler, ink, gel bubbles.

Lengths are in units of an image's short side. No structure is finer than 0.05 of it, 3 px of a 64 px image.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from scipy import fft, ndimage
from skimage.color import rgb2lab
from tqdm import tqdm

from p2d_lib.run import atomic, derive
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

N, HALF = 160, 0.8  # a lesion's maps: N x N px over -HALF..HALF short sides
_Y, _X = np.meshgrid(*[(np.arange(N, dtype=np.float32) + 0.5) / N * 2 * HALF - HALF] * 2, indexing="ij")
_RHO, _THETA = np.hypot(_X, _Y), np.arctan2(_Y, _X)
_K2 = (fft.fftfreq(N, 2 * HALF / N)[:, None] ** 2 + fft.rfftfreq(N, 2 * HALF / N) ** 2).astype(np.float32)
_K = np.sqrt(_K2)  # spatial frequency, cycles per short side


@dataclass(frozen=True)
class Lesion:
    """A lesion on a patch of skin, before any camera: maps are float32 (5, N, N) over -HALF..HALF short sides."""

    dx: str
    fitzpatrick: int  # 1..6
    maps: np.ndarray  # amounts of melanin, blood, deep melanin (>= 0); opacity of white, of keratin (0..1)
    mask: np.ndarray  # bool (N, N): inside the outline
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
    seed: int = 0  # of where hairs, ruler, ink, bubbles and sensor noise fall

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


OPTICS = {
    "clinic": _Optics(gain=(1.05, 0.97, 0.90), contrast=1.12, lift=0.0, zoom=1.1, vignette=True, blur=0.3),
    "atlas": _Optics(gain=(0.93, 0.98, 1.10), contrast=0.82, lift=0.09, zoom=0.85, vignette=False, blur=0.5),
}


# ---------------------------------------------------------------------------------------------- fields on the canvas
def _spectral(rng, transfer: np.ndarray) -> np.ndarray:
    waves = rng.standard_normal((N, N // 2 + 1, 2), dtype=np.float32).view(np.complex64)[..., 0]
    noise = fft.irfft2(waves * transfer, s=(N, N))
    noise -= noise.mean()
    return noise / np.sqrt(np.vdot(noise, noise) / noise.size)


def _smooth(rng, scale: float) -> np.ndarray:
    """Noise of unit variance whose patches are about `scale` wide."""
    return _spectral(rng, np.exp((-0.5 * (np.pi * scale) ** 2) * _K2))


def _cloud(rng, scale: float, slope: float = 2.0) -> np.ndarray:
    """Noise of unit variance with detail at every size below `scale`."""
    return _spectral(rng, (_K2 + scale**-2) ** (-slope / 2))


def _rough(rng, wavelength: float, band: float = 0.25) -> np.ndarray:
    """Noise of unit variance that repeats about every `wavelength`: ridges, cobbles, furrows."""
    return _spectral(rng, np.exp(-0.5 * ((_K * wavelength - 1) / band) ** 2))


def _step(value: np.ndarray, width) -> np.ndarray:
    """0 below -width, 1 above width, smooth between."""
    t = np.clip(value / (2 * width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _mesh(rng, spacing: float, disorder: float) -> np.ndarray:
    """1 on the lines of a mesh, 0 in its holes. disorder 0: a bent honeycomb; 1: lines break and holes run together."""
    k, turn = 4 * np.pi / np.sqrt(3) / spacing, rng.uniform(0, np.pi)
    bend = spacing * (0.25 + 0.35 * disorder)
    x, y = _X + bend * _smooth(rng, 2.5 * spacing), _Y + bend * _smooth(rng, 2.5 * spacing)
    waves = sum(np.cos(k * (x * np.cos(a) + y * np.sin(a))) for a in turn + np.arange(3) * np.pi * 2 / 3)
    waves += (0.5 + 0.9 * disorder) * _rough(rng, 0.87 * spacing, 0.3)
    return _step(-0.2 - waves, 1.2)


def _spots(rng, where: np.ndarray, count: int, radius: tuple[float, float], stretch=1.0, soft=0.5) -> np.ndarray:
    """Soft discs (0..1, each of its own strength) at random places of a bool map; `stretch` > 1 makes ovals."""
    spots, places = np.zeros((N, N), np.float32), np.flatnonzero(where)
    for place in rng.choice(places, count if len(places) else 0):
        cy, cx = divmod(place, N)
        size, angle, strength = rng.uniform(*radius), rng.uniform(0, np.pi), rng.uniform(0.55, 1)
        reach = int(np.ceil((1 + soft) * size * stretch / (2 * HALF) * N))
        window = np.s_[max(0, cy - reach) : cy + reach + 1, max(0, cx - reach) : cx + reach + 1]
        x, y = _X[window] - _X[cy, cx], _Y[window] - _Y[cy, cx]
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        disc = strength * _step(1 - np.hypot(along / stretch, across) / size, soft)
        spots[window] = np.maximum(spots[window], disc)
    return spots


def _strokes(lines, shape: tuple[int, int], scale: float, origin=(0.0, 0.0), over: int = 2) -> np.ndarray:
    """Opacity (0..1) of antialiased polylines. lines: (points (n, 2) in x, y; width), both in short sides."""
    sheet = Image.new("L", (shape[1] * over, shape[0] * over))
    pen = ImageDraw.Draw(sheet)
    for points, width in lines:
        path = [tuple(p) for p in (points + origin) * scale * over]
        pen.line(path, 255, max(1, round(width * scale * over)), "curve")
    return np.asarray(sheet.resize(shape[::-1], Image.Resampling.BOX), np.float32) / 255


def _canvas_strokes(lines) -> np.ndarray:
    return _strokes(lines, (N, N), N / (2 * HALF), (HALF, HALF))


def _curve(rng, start, angle: float, length: float, bend: float, wander: float, steps: int = 14) -> np.ndarray:
    """A line that bends by about `bend` radians over its length and wanders by `wander`: (steps, 2)."""
    turns = angle + np.linspace(-1, 1, steps) * rng.normal(0, bend / 2) + np.cumsum(rng.normal(0, wander, steps))
    return np.asarray(start) + np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1) * length / steps, 0)


def _tree(rng, start, angle: float, length: float, width: float) -> list:
    """A vessel that branches and thins out."""
    trunk = _curve(rng, start, angle, length, 0.9, 0.22)
    lines = [(trunk, width)]
    if width > 0.011:
        for at in rng.choice(np.arange(3, 14), 2, replace=False):
            turn = rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
            lines += _tree(rng, trunk[at], angle + turn, length * rng.uniform(0.4, 0.7), width * 0.72)
    return lines


# --------------------------------------------------------------------------------------------------------- lesions
@dataclass
class _Drawing:
    """A lesion while it is drawn: skin first, then its class adds to the maps and notes what it added."""

    rng: np.random.Generator
    radius: float
    melanin: np.ndarray
    blood: np.ndarray
    deep: np.ndarray = field(default_factory=lambda: np.zeros((N, N), np.float32))
    white: np.ndarray = field(default_factory=lambda: np.zeros((N, N), np.float32))
    keratin: np.ndarray = field(default_factory=lambda: np.zeros((N, N), np.float32))
    height: np.ndarray | None = None  # of the outline: 0 on it, 1 at the centre, negative outside
    truth: dict = field(default_factory=dict)

    def outline(self, oval: float, lobes: float, ragged: float) -> None:
        """Sets the outline. oval, lobes, ragged: amplitudes relative to the radius."""
        rng, theta = self.rng, _THETA + self.rng.uniform(0, 2 * np.pi)
        r = 1 + oval * np.cos(2 * theta)
        for k in (1, 3, 4, 5):
            r += lobes * rng.normal(0, 0.75 / k**0.5) * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
        fade = np.clip(1.6 - _RHO / self.radius, 0.1, 1)  # keeps the noise from growing islands far out
        self.height = 1 - _RHO / (self.radius * np.maximum(r, 0.35)) + ragged * fade * _cloud(rng, 0.14, 2.4)

    def inside(self, edge: float) -> np.ndarray:
        """1 inside, 0 outside, over an edge about `edge` radii wide, softer here than there."""
        return _step(self.height, edge * np.exp(0.5 * _smooth(self.rng, 0.3)) + 0.02)

    def chance(self, p: float, low: float = 0.25) -> float:
        """Strength of a structure: 0 with probability 1 - p, else low..1."""
        return float(self.rng.uniform(low, 1)) if self.rng.random() < p else 0.0

    def seen(self, strength: float, where: np.ndarray) -> float:
        """Strength of what was drawn on a map 0..1: in full from a tenth of the lesion on, less below."""
        return strength * min(1.0, float(where[self.height > 0].mean()) / 0.1)


def _skin(rng, fitzpatrick: int, radius: float) -> _Drawing:
    melanin, blood = SKIN_MELANIN[fitzpatrick - 1] * rng.uniform(0.8, 1.2), rng.uniform(0.12, 0.45)
    furrows = rng.uniform(0.015, 0.04) * _cloud(rng, 0.03, 1.2)
    mottle = _cloud(rng, rng.uniform(0.05, 0.2))
    d = _Drawing(
        rng,
        radius,
        melanin * (1 + 0.12 * _cloud(rng, 0.3)) + furrows,
        blood * (1 + rng.uniform(0.08, 0.28) * mottle) + furrows,
    )
    if rng.random() < 0.25:  # freckled, sun-damaged
        d.melanin += rng.uniform(0.15, 0.5) * _step(_smooth(rng, rng.uniform(0.09, 0.18)) - 1.4, 1.0)
    if rng.random() < 0.2:  # with vessels of its own
        starts = rng.uniform(-HALF, HALF, (16, 2))
        lines = [(_curve(rng, start, rng.uniform(0, 6.3), 0.25, 1.0, 0.3), 0.009) for start in starts]
        d.blood += rng.uniform(0.1, 0.35) * _canvas_strokes(lines)
    return d


def _nv(d: _Drawing) -> None:
    rng = d.rng
    dysplastic = rng.random() < 0.2
    d.outline(rng.uniform(0, 0.25), rng.uniform(0.0, 0.18 if dysplastic else 0.09), rng.uniform(0.02, 0.08))
    body, level = d.inside(rng.uniform(0.10, 0.40)), rng.uniform(0.5, 3.2)
    centre = np.exp(-((_RHO / d.radius) ** 2) * 2) * rng.uniform(-0.35, 0.6)
    d.melanin += body * level * (0.7 + centre + rng.uniform(0.08, 0.22) * _cloud(rng, 0.12))
    d.blood += body * rng.uniform(0, 1.0) * (1 + 0.2 * _cloud(rng, 0.1))
    pattern = rng.choice(["network", "globules", "homogeneous"], p=[0.5, 0.25, 0.25])
    if pattern == "network":
        strength = rng.uniform(0.35, 1)
        lines = _mesh(rng, rng.uniform(0.060, 0.080), rng.uniform(0, 0.6 if dysplastic else 0.25))
        lines *= 1 + 0.25 * _smooth(rng, 0.15)
        d.melanin += body * strength * (0.5 + 0.55 * level) * (lines - 0.35) * np.clip(0.6 + d.height, 0.4, 1)
        d.truth["regular_network"] = strength
    elif pattern == "globules":
        strength = rng.uniform(0.35, 1)
        cells = 1 - _mesh(rng, rng.uniform(0.065, 0.090), rng.uniform(0.1, 0.4))
        d.melanin += body * strength * (0.4 + 0.5 * level) * (cells - 0.5)
        d.truth["regular_globules"] = strength
    if cysts := d.chance(0.08):  # as in some dermal nevi
        d.white = np.maximum(d.white, 0.8 * _spots(rng, d.height > 0.1, 6, (0.015, 0.03), soft=0.8) * cysts)
        d.truth["milia_cysts"] = cysts
    if dysplastic and rng.random() < 0.5:  # a few dots are no melanoma yet
        d.melanin += 1.5 * body * _spots(rng, d.height > 0.2, rng.integers(2, 7), (0.018, 0.03))
        d.truth["irregular_dots_globules"] = 0.3


def _mel(d: _Drawing) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.3), rng.uniform(0.03, 0.30), rng.uniform(0.05, 0.22))
    side = rng.uniform(0, 2 * np.pi)
    sector = 0.5 + 0.5 * np.cos(_THETA - side) * np.clip(_RHO / d.radius, 0, 1)  # one side differs from the other
    body, level = d.inside(rng.uniform(0.06, 0.30)), rng.uniform(0.5, 2.8)
    d.melanin += body * level * np.clip(0.75 + 0.3 * _cloud(rng, 0.2) + 0.5 * (sector - 0.5), 0.1, None)
    d.blood += body * (rng.uniform(0, 0.6) + d.chance(0.35) * (1 - sector) * (0.7 + 0.3 * _cloud(rng, 0.1)))
    if network := d.chance(0.55):
        broken = _step(_smooth(rng, 0.14) + 0.3, 0.8)
        lines = _mesh(rng, rng.uniform(0.07, 0.11), rng.uniform(0.6, 1)) * broken
        d.melanin += body * network * (0.7 + 0.6 * level) * (lines - 0.2)
    if blotch := d.chance(0.45):
        dark = body * blotch * _step(_cloud(rng, 0.25, 2.8) + 1.2 * (sector - 0.5) - 0.7, 0.7)
        d.melanin += 3.5 * dark
        d.deep += 1.0 * dark
        blotch = d.seen(blotch, dark / blotch)
    if dots := d.chance(0.5):
        where = (d.height > -0.03) & (sector + 0.25 * _smooth(rng, 0.15) > 0.55)
        d.melanin += 3.0 * _spots(rng, where, int(8 + 30 * dots), (0.014, 0.038), 1.2)
    if streaks := d.chance(0.35):
        lines = []
        for angle in side + rng.normal(0, 0.6, int(8 + 14 * streaks)):
            start, length = 0.82 * _rim(d, angle), rng.uniform(0.06, 0.15)
            lines.append((_curve(rng, start, angle + rng.normal(0, 0.2), length, 0.5, 0.05), rng.uniform(0.014, 0.03)))
        d.melanin += (1.0 + 0.8 * level) * ndimage.gaussian_filter(_canvas_strokes(lines), 0.8)
    if veil := d.chance(0.4):
        haze = body * _step(_smooth(rng, 0.22) + 0.2 * _cloud(rng, 0.1) - 0.8 * (sector - 0.5) - 0.2, 1.2)
        d.deep += 1.5 * veil * haze
        d.white += 0.3 * veil * haze
        veil = d.seen(veil, haze)
    if regression := d.chance(0.3):
        scar = body * _step(_cloud(rng, 0.2, 2.5) + (0.5 - sector) - 0.3, 0.7)
        d.melanin *= 1 - 0.85 * regression * scar
        d.white += 0.45 * regression * scar
        d.deep += 0.8 * regression * _spots(rng, scar > 0.5, 22, (0.012, 0.022))
        regression = d.seen(regression, scar)
    d.truth |= {
        "atypical_pigment_network": network, "irregular_blotches": blotch, "irregular_dots_globules": dots,
        "irregular_streaks": streaks, "blue_whitish_veil": veil, "regression_structures": regression,
    }  # fmt: skip


def _rim(d: _Drawing, angle: float) -> np.ndarray:
    """Where a ray from the centre last leaves the lesion: (x, y)."""
    r = np.linspace(0.05, 0.8, 60)
    columns, rows = ((r * f(angle) + HALF) / (2 * HALF) * N for f in (np.cos, np.sin))
    within = d.height[rows.astype(int), columns.astype(int)] > 0
    return r[within][-1] * np.array([np.cos(angle), np.sin(angle)]) if within.any() else np.zeros(2)


def _bkl(d: _Drawing) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.28), rng.uniform(0.02, 0.15), rng.uniform(0.03, 0.14))
    body, level = d.inside(rng.uniform(0.03, 0.10)), rng.uniform(0.4, 2.6)
    warty = rng.uniform(0.08, 0.3) * _rough(rng, 0.08, 0.4)
    d.melanin += body * level * np.clip(0.8 + warty + 0.22 * _cloud(rng, 0.2), 0.1, None)
    d.blood += body * rng.uniform(0, 0.6)
    d.deep += body * max(0.0, rng.uniform(-0.4, 0.5))
    d.keratin += body * rng.uniform(0.0, 0.4) * (1 + 0.3 * _cloud(rng, 0.1))
    if network := d.chance(0.2):  # a solar lentigo may look like a nevus
        lines = _mesh(rng, rng.uniform(0.060, 0.090), rng.uniform(0.2, 0.7))
        d.melanin += body * network * (0.3 + 0.4 * level) * (lines - 0.35)
    if fissures := d.chance(0.4):
        creases = _step(0.2 - np.abs(_rough(rng, 0.17, 0.35)), 0.25)
        d.melanin += body * fissures * (0.5 + 0.6 * level) * creases
    if comedo := d.chance(0.45):
        spots = _spots(rng, d.height > 0.12, int(4 + 12 * comedo), (0.018, 0.038), 1.25)
        d.melanin += 2.6 * spots
        d.keratin += 0.25 * spots
    if cysts := d.chance(0.55):
        spots = _spots(rng, d.height > 0.10, int(5 + 16 * cysts), (0.015, 0.034), soft=0.8)
        d.white = np.maximum(d.white, 0.8 * spots)
    d.truth |= {"milia_cysts": cysts, "comedo_openings": comedo, "fissures": fissures, "regular_network": network}


def _bcc(d: _Drawing) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.25), rng.uniform(0.05, 0.2), rng.uniform(0.05, 0.2))
    body = d.inside(rng.uniform(0.15, 0.5))
    d.blood += body * (rng.uniform(0.1, 0.9) + 0.18 * _cloud(rng, 0.1))
    d.melanin += body * max(0.0, rng.uniform(-0.5, 1.2)) * (0.7 + 0.4 * _cloud(rng, 0.15))
    d.white += body * np.clip(rng.uniform(0, 0.25) + 0.12 * _cloud(rng, 0.1), 0, 1)
    if nests := d.chance(0.65):
        spots = _spots(rng, d.height > 0.05, int(2 + 9 * nests), (0.022, 0.065), 1.5, soft=0.7)
        d.deep += rng.uniform(1.0, 1.9) * spots
        d.melanin += rng.uniform(0.2, 1.2) * spots
    if vessels := d.chance(0.7):
        lines = []
        for angle in rng.uniform(0, 2 * np.pi, int(1 + 3 * vessels)):
            start = d.radius * rng.uniform(0.8, 1.2) * np.array([np.cos(angle), np.sin(angle)])
            lines += _tree(rng, start, angle + np.pi + rng.normal(0, 0.5), d.radius * rng.uniform(0.9, 1.5), 0.023)
        d.blood += (0.7 + 0.9 * vessels) * _canvas_strokes(lines) * _step(d.height + 0.35, 0.4)
    if ulcer := d.chance(0.35):
        sore = _spots(rng, d.height > 0.25, int(1 + 2 * ulcer), (0.06, 0.13), 1.3, 0.9)
        sore = _step(sore * (1 + 0.4 * _cloud(rng, 0.06)) - 0.35, 0.2)
        d.blood += 1.5 * sore
        d.melanin += 1.2 * sore * (1 + 0.5 * _cloud(rng, 0.05))
        d.keratin += 0.35 * sore
    d.truth |= {
        "blue_grey_nests": nests, "arborising_vessels": vessels, "ulceration": ulcer,
        "atypical_vascular_pattern": vessels,
    }  # fmt: skip


def _akiec(d: _Drawing) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.25), rng.uniform(0.05, 0.2), rng.uniform(0.06, 0.20))
    body = d.inside(rng.uniform(0.2, 0.6))
    d.blood += body * (rng.uniform(0.2, 0.7) + 0.2 * _cloud(rng, 0.12))
    pigment = max(0.0, rng.uniform(-0.6, 1.9))
    d.melanin += body * pigment * _step(_cloud(rng, 0.2) + 0.2, 1.2)
    if strawberry := d.chance(0.65):
        net = _mesh(rng, rng.uniform(0.085, 0.12), rng.uniform(0.2, 0.7))
        patchy = body * np.clip(0.75 + 0.35 * _smooth(rng, 0.15), 0.1, 1.2)
        d.blood += patchy * strawberry * (net - 0.2)
        d.white += patchy * strawberry * 0.42 * _step(0.3 - net, 0.35)
        d.melanin += patchy * pigment * 0.6 * net
    if scale := d.chance(0.5):
        flakes = _step(0.8 * _cloud(rng, 0.08) + 0.8 * _smooth(rng, 0.2) - 1.3, 0.4)
        d.white = np.maximum(d.white, 0.8 * scale * flakes * _step(d.height + 0.05, 0.3))
        d.keratin += 0.3 * scale * body * _step(_cloud(rng, 0.12) - 0.8, 0.5)
        scale = d.seen(scale, flakes)
    if rosettes := d.chance(0.35):
        places = np.flatnonzero(d.height > 0.2)
        petals = np.zeros((N, N), np.float32)
        for place in rng.choice(places, int(3 + 6 * rosettes) if len(places) else 0):
            cy, cx = divmod(place, N)
            petals[[cy - 3, cy + 3, cy, cy], [cx, cx, cx - 3, cx + 3]] = 1
        d.white = np.maximum(d.white, np.clip(9 * ndimage.gaussian_filter(petals, 1.3), 0, 0.9))
    d.truth |= {
        "strawberry": strawberry, "scale": scale, "rosettes": rosettes, "atypical_vascular_pattern": 0.6 * strawberry,
    }  # fmt: skip


def _df(d: _Drawing) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.2), rng.uniform(0.0, 0.10), rng.uniform(0.03, 0.12))
    body, level = d.inside(rng.uniform(0.3, 0.7)), rng.uniform(0.3, 2.2)
    d.melanin += body * level * (0.6 + 0.12 * _cloud(rng, 0.15))
    d.blood += body * (rng.uniform(0, 0.9) + 0.1 * _cloud(rng, 0.1))
    scar, network = rng.uniform(0.2, 1), d.chance(0.8)
    off = rng.normal(0, 0.1, 2) * d.radius
    reach = rng.uniform(0.30, 0.55) * d.radius * (1 + rng.uniform(0.1, 0.3) * np.cos(2 * _THETA + rng.uniform(0, 6)))
    middle = _step(1 - np.hypot(_X - off[0], _Y - off[1]) / reach + 0.22 * _cloud(rng, 0.1), 0.55)
    ring = body * (1 - middle)
    d.blood += ring * max(0.0, rng.uniform(-0.4, 0.6))
    if network:
        lines = _mesh(rng, rng.uniform(0.06, 0.08), rng.uniform(0.1, 0.5)) * (1 + 0.3 * _smooth(rng, 0.12))
        d.melanin += ring * network * (0.45 + 0.45 * level) * (lines - 0.25)
    d.melanin *= 1 - 0.75 * scar * middle
    d.white += 0.6 * scar * middle * np.clip(1 + 0.3 * _cloud(rng, 0.06), 0, 1.4)
    d.truth |= {"scar": scar, "regular_network": 0.5 * network}


def _vasc(d: _Drawing) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.2), rng.uniform(0.02, 0.12), rng.uniform(0.05, 0.2))
    body, depth = d.inside(rng.uniform(0.04, 0.2)), rng.uniform(0.6, 3.0)
    bluish = max(0.0, rng.uniform(-0.6, 1.3))
    cells = 1 - _mesh(rng, rng.uniform(0.10, 0.17), rng.uniform(0.2, 0.8))
    lacunae = rng.uniform(0.2, 1)
    full = np.clip(0.85 + 0.4 * _cloud(rng, 0.15), 0.2, None)  # some hold more blood than others
    d.blood += body * depth * (1 - 0.7 * lacunae * (1 - cells)) * full
    d.deep += body * bluish * (0.3 + 0.7 * lacunae * cells) * full
    d.melanin += body * d.chance(0.25) * 3.0 * cells * _step(_smooth(rng, 0.15) - 0.6, 0.4)  # thrombosed: black
    d.white += body * lacunae * rng.uniform(0.05, 0.35) * (1 - cells)
    d.truth |= {"lacunae": lacunae, "atypical_vascular_pattern": 0.3 * lacunae}


_CLASSES = {"akiec": _akiec, "bcc": _bcc, "bkl": _bkl, "df": _df, "mel": _mel, "nv": _nv, "vasc": _vasc}
RADIUS = {  # smallest and largest, short sides
    "akiec": (0.20, 0.40), "bcc": (0.16, 0.40), "bkl": (0.19, 0.40), "df": (0.20, 0.36), "mel": (0.22, 0.42),
    "nv": (0.15, 0.36), "vasc": (0.15, 0.36),
}  # fmt: skip


def draw_lesion(rng: np.random.Generator, dx: str, fitzpatrick: int | None = None) -> Lesion:
    """One lesion of class `dx` on skin of type `fitzpatrick` (1..6; drawn with HAM10000-like frequencies if None).

    Raises KeyError for an unknown dx.
    """
    draw = _CLASSES[dx]
    fitzpatrick = fitzpatrick or int(rng.choice(6, p=SKIN)) + 1
    d = _skin(rng, fitzpatrick, rng.uniform(*RADIUS[dx]))
    skin = np.stack([d.melanin, d.blood]).mean((1, 2))
    draw(d)
    mask = _largest(d.height > 0)
    maps = np.stack([d.melanin, d.blood, d.deep, d.white, d.keratin]).astype(np.float32)
    np.maximum(maps, 0, out=maps)
    np.minimum(maps[3:], 0.92, out=maps[3:])
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
    x, y = _X[mask], _Y[mask]
    x, y = x - x.mean(), y - y.mean()
    axes = np.linalg.eigh(np.cov(x, y))[1]
    grid = np.stack([x, y], 1) @ axes
    bins = np.linspace(-1.2, 1.2, 61)
    plan = np.histogram2d(*grid.T, bins)[0] > 0
    folded = np.mean([np.mean(plan[plan] != np.flip(plan, axis)[plan]) for axis in (0, 1)])
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 1.0)
    perimeter = np.hypot(*np.gradient(soft)).sum()  # the total variation of an indicator is its perimeter
    compactness = perimeter**2 / (4 * np.pi * mask.sum())
    return {
        "true_asymmetry": float(min(1, folded / 0.25)),
        "true_border_irregularity": float(np.clip((compactness - 1) / 1.5, 0, 1)),
    }


def _colours(maps: np.ndarray, mask: np.ndarray, skin: np.ndarray) -> dict:
    """What a neutral camera sees; 1: the colour fills half the lesion (blue-grey, black a quarter, white an eighth)."""
    lab = _lab(maps[:, mask][:, ::3])
    ground = _lab(np.concatenate([skin, np.zeros(3)])[:, None])[0]
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
    """Linear RGB (..., 3) of maps (5, ...)."""
    rgb = R0 * np.exp(-np.tensordot(maps[:3], EXTINCTION, (0, 0)))
    for opacity, colour in ((maps[4], KERATIN), (maps[3], WHITE)):
        if opacity.any():
            rgb += opacity[..., None] * (colour * np.sqrt(np.sqrt(rgb[..., 1:2])) - rgb)
    return rgb


def _sample(maps: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Maps (c, N, N) at places in short sides, bilinear, mirrored beyond their edge: (c, *rows.shape)."""
    indices = []
    for place in (rows, columns):
        place = (place + HALF) / (2 * HALF) * N - 0.5
        place = np.abs((place + N - 1) % (2 * (N - 1)) - (N - 1))
        low = np.minimum(place.astype(np.int32), N - 2)
        indices.append((low, place - low))
    (r, u), (c, v) = indices
    flat, at = maps.reshape(len(maps), -1), r * N + c
    top = flat[:, at] * (1 - v) + flat[:, at + 1] * v
    return top * (1 - u) + (flat[:, at + N] * (1 - v) + flat[:, at + N + 1] * v) * u


def _srgb(linear: np.ndarray) -> np.ndarray:
    return np.clip(linear, 0, 1) ** (1 / 2.2)


def _lab(maps: np.ndarray) -> np.ndarray:
    return rgb2lab(_srgb(_reflectance(maps))[:, None])[:, 0]


def draw_view(rng: np.random.Generator, camera: str) -> View:
    """A view as chance has it: most without ruler and ink, about half with some hair."""
    return View(
        camera=camera,
        angle=rng.uniform(0, 2 * np.pi),
        mirror=bool(rng.random() < 0.5),
        shift=tuple(rng.normal(0, 0.035, 2)),
        zoom=float(np.exp(rng.normal(0, 0.08))),
        exposure=float(np.exp(rng.normal(0.0, 0.12))),
        focus=rng.uniform(0, 1.0) if rng.random() < 0.5 else 0.0,
        cast=tuple(np.exp(rng.normal(0, 0.07, 3))),
        slope=tuple(rng.normal(0, 0.07, 2)),
        corner=rng.uniform(0.95, 1.0) if rng.random() < 0.2 else rng.uniform(0.3, 0.7),
        hairs=int(rng.geometric(0.17)) if rng.random() < 0.4 else 0,
        ruler=bool(rng.random() < 0.12),
        ink=bool(rng.random() < 0.07),
        bubbles=int(rng.integers(1, 7)) if rng.random() < 0.2 else 0,
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
    *maps, covered = _sample(np.concatenate([lesion.maps, lesion.mask[None]]), rows, columns)
    mask = covered > 0.5

    rgb = _reflectance(np.stack(maps))
    rgb = ndimage.gaussian_filter(rgb, (np.hypot(optics.blur, view.focus) * short / 96,) * 2 + (0,), truncate=3)
    rgb = _artefacts(rgb, view, rng, x, y)
    light = view.exposure * (1 + view.slope[0] * x + view.slope[1] * y)
    if optics.vignette:
        rim = 0.02 if view.corner > 0.8 else 0.25  # a black tube, or light that falls off
        light = light * (1 - view.corner * _step(np.hypot(x, y) - rng.uniform(0.62, 0.76), rim))
    rgb = _srgb(rgb * light[..., None] * np.array(optics.gain) * view.cast)
    rgb = optics.lift + (1 - optics.lift) * (0.6 + optics.contrast * (rgb - 0.6))
    rgb += 0.008 * rng.standard_normal(rgb.shape, np.float32)
    return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8), mask


def _artefacts(rgb: np.ndarray, view: View, rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ink, ruler, gel bubbles and hair on linear RGB (h, w, 3)."""
    h, w, _ = rgb.shape
    short, corner = min(h, w), np.array([w, h]) / min(h, w) / 2

    def strokes(lines):
        return _strokes(lines, (h, w), short, corner, over=3)[..., None]

    if view.ink:
        angle = rng.uniform(0, 2 * np.pi)
        u = np.array([np.cos(angle), np.sin(angle)])
        start = rng.uniform(0.38, 0.46) * u + 0.25 * np.array([u[1], -u[0]])
        line = _curve(rng, start, angle + np.pi / 2, 0.5, 0.8, 0.02)
        dye = np.array([[1.7, 1.3, 0.35], [1.2, 1.6, 0.5]][rng.integers(2)])
        rgb = rgb * np.exp(-dye * rng.uniform(0.6, 1.1) * strokes([(line, rng.uniform(0.05, 0.09))]))
    if view.ruler:
        angle, along = rng.choice(4) * np.pi / 2 + rng.normal(0, 0.25), np.arange(-0.9, 0.9, 0.06)
        u, v = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        edge = rng.uniform(0.36, 0.43) * v  # within the central square
        ticks = [(np.stack([edge + t * u, edge + t * u + (0.09 if i % 5 == 0 else 0.05) * v]), 0.010)
                 for i, t in enumerate(along)]  # fmt: skip
        rgb = rgb * (1 - 0.9 * strokes(ticks))
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
            lines.append((_curve(rng, start, angle, length, bend, 0.015, 24), rng.uniform(0.006, 0.013)))
        colour = np.array([0.06, 0.035, 0.025]) * rng.uniform(0.3, 2.5)
        rgb = rgb + rng.uniform(0.75, 0.95) * strokes(lines) * (colour - rgb)
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


def write(
    folder: Path,
    n_images: int,
    seed: int,
    tail: float,
    camera: str,
    size: tuple[int, int] = (128, 96),
    progress: bool = True,
) -> None:
    """Lays a phantom data set out as HAM10000 is, with truth.csv beside; replaces `folder` in one step.

    tail: see `class_shares`. camera: clinic | atlas. size: (width, height) px. Lesion k is the same whatever n_images;
    the last lesion may show fewer views than it has. Raises ValueError for an unknown camera or n_images < 1.
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
        lesion_index = 0
        while len(metadata) < n_images:
            rng = np.random.default_rng(derive(seed, "phantom", lesion_index))
            dx = _draw(rng, shares)
            views = 1 + rng.choice(6, p=VIEWS[dx])
            patient, lesion = draw_patient(rng, dx), draw_lesion(rng, dx)
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
