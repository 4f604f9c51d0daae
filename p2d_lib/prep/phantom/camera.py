"""A camera that looks at a lesion: rotation, shift, zoom, light, hair, ruler, ink, gel bubbles."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from p2d_lib.prep.phantom.canvas import HALF, smooth_step
from p2d_lib.prep.phantom.lesions import Lesion
from p2d_lib.prep.phantom.overlays import Frame, View, overlay
from p2d_lib.prep.phantom.skin import reflectance, srgb

CAMERAS = ("clinic", "atlas")


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

    rgb = overlay(reflectance(sampled[..., :5]), view, rng, Frame(x, y))
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
