"""A camera that looks at a lesion: rotation, shift, zoom, light, hair, ruler, ink, gel bubbles."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from p2d_lib.prep.phantom.canvas import HALF, bent_line, smooth_step, stroke_opacity
from p2d_lib.prep.phantom.lesions import Lesion
from p2d_lib.prep.phantom.skin import reflectance, srgb

CAMERAS = ("clinic", "atlas")


@dataclass(frozen=True)
class View:
    """How one image shows its lesion."""

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
class Optics:
    gain: tuple[float, float, float]
    contrast: float
    lift: float
    zoom: float
    vignette: bool
    blur: float  # standard deviation, px of a 96 px image
    sharpness: float  # how much of what is finer than a px of a 96 px image is added once more


OPTICS = {
    "clinic": Optics(gain=(1.05, 0.98, 0.94), contrast=1.2, lift=0.0, zoom=1.1, vignette=True, blur=0.3, sharpness=0.8),
    "atlas": Optics(
        gain=(0.92, 0.98, 1.1), contrast=0.85, lift=0.08, zoom=0.85, vignette=False, blur=0.5, sharpness=0.2
    ),
}


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


def make_view(rng: np.random.Generator, camera: str) -> View:
    """A random view: most without ruler and ink, about half with some hair."""
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

    rgb = _artefacts(reflectance(sampled[..., :5]), view, rng, x, y)
    pixel = short / 96
    rgb = ndimage.gaussian_filter(rgb, (np.hypot(optics.blur, view.focus) * pixel,) * 2 + (0,), truncate=3)
    rgb += optics.sharpness * (rgb - ndimage.gaussian_filter(rgb, (pixel, pixel, 0), truncate=2))
    light = view.exposure * (1 + view.slope[0] * x + view.slope[1] * y)
    if optics.vignette:
        rim = 0.02 if view.corner > 0.8 else 0.25  # a black tube, or light that falls off
        light = light * (1 - view.corner * smooth_step(np.hypot(x, y) - rng.uniform(0.62, 0.76), rim))
    rgb = srgb(rgb * light[..., None] * np.array(optics.gain, np.float32) * np.array(view.cast, np.float32))
    rgb = optics.lift + (1 - optics.lift) * (0.6 + optics.contrast * (rgb - 0.6))
    rgb += 0.008 * rng.standard_normal(rgb.shape, np.float32)
    return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8), mask


def _artefacts(rgb: np.ndarray, view: View, rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ink, gel bubbles, hair, glints and the ruler on linear RGB (h, w, 3)."""
    h, w, _ = rgb.shape
    short, corner = min(h, w), np.array([w, h]) / min(h, w) / 2

    def strokes(lines):
        return stroke_opacity(lines, (h, w), short, corner, over=3)[..., None]

    if view.ink:
        angle = rng.uniform(0, 2 * np.pi)
        u = np.array([np.cos(angle), np.sin(angle)])
        start = rng.uniform(0.38, 0.46) * u + 0.25 * np.array([u[1], -u[0]])
        line = bent_line(rng, start, angle + np.pi / 2, 0.5, 0.8, 0.02)
        dye = np.array([[1.7, 1.3, 0.35], [1.2, 1.6, 0.5]])[rng.integers(2)]
        thick = ndimage.gaussian_filter(strokes([(line, rng.uniform(0.05, 0.09))]), (0.012 * short,) * 2 + (0,))
        grain = ndimage.gaussian_filter(rng.standard_normal((h, w)), 0.012 * short)  # it runs into the skin's furrows
        thick = smooth_step(thick - 0.5 + 0.1 * (grain / grain.std())[..., None], 0.22)
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
            curve, width = bent_line(rng, start, angle, length, bend, 0.015, 24), rng.uniform(0.006, 0.014)
            lines += [(curve[:12], width), (curve[11:19], 0.75 * width), (curve[18:], 0.45 * width)]  # root to tip
        colour = np.array([0.06, 0.035, 0.025]) * rng.uniform(0.3, 2.5)
        rgb = rgb + rng.uniform(0.75, 0.95) * strokes(lines) * (colour - rgb)
    if view.glints:  # the lamp's reflections on scale, wet skin and fine pale hair
        where, angle = rng.normal(0, 0.14, 2), rng.uniform(0, np.pi)
        lines = []
        for at in where + rng.normal(0, 0.16, (view.glints, 2)):
            lines.append((bent_line(rng, at, angle + rng.normal(0, 0.5), rng.exponential(0.02), 0.8, 0.1, 5), 0.005))
        rgb = rgb + rng.uniform(0.25, 0.8) * strokes(lines) * (0.9 - rgb)
    if view.ruler:
        angle, along = rng.choice(4) * np.pi / 2 + rng.normal(0, 0.25), np.arange(-0.9, 0.9, 0.06)
        u, v = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        edge = rng.uniform(0.36, 0.43) * v  # within the central square
        ticks = [(np.stack([edge + t * u, edge + t * u + (0.09 if i % 5 == 0 else 0.05) * v]), 0.010)
                 for i, t in enumerate(along)]  # fmt: skip
        rgb = rgb * (1 - 0.9 * strokes(ticks))
    return rgb
