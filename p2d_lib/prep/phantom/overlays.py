"""What lies over the skin in an image: ink, gel bubbles, hair, glints and a ruler."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from p2d_lib.prep.phantom.canvas import bent_line, smooth_step, stroke_opacity


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
class Frame:
    """The pixels of an image (h, w): their places x and y from its centre, in short sides."""

    x: np.ndarray
    y: np.ndarray

    @property
    def short(self) -> int:
        return min(self.x.shape)

    @property
    def corner(self) -> np.ndarray:
        """The place of the image's corner, x and y."""
        return np.array(self.x.shape[::-1]) / self.short / 2

    def strokes(self, lines: list) -> np.ndarray:
        """The opacity (h, w, 1) of lines, as `canvas.stroke_opacity` takes them."""
        return stroke_opacity(lines, self.x.shape, self.short, self.corner, over=3)[..., None]


def overlay(rgb: np.ndarray, view: View, rng: np.random.Generator, frame: Frame) -> np.ndarray:
    """Linear RGB (h, w, 3) with all that the view puts over the skin."""
    if view.ink:
        rgb = _ink(rgb, rng, frame)
    for _ in range(view.bubbles):
        rgb = _bubble(rgb, rng, frame)
    if view.hairs:
        rgb = _hairs(rgb, rng, frame, view.hairs)
    if view.glints:
        rgb = _glints(rgb, rng, frame, view.glints)
    return _ruler(rgb, rng, frame) if view.ruler else rgb


def _ink(rgb: np.ndarray, rng: np.random.Generator, frame: Frame) -> np.ndarray:
    """A line of a skin marker beside the lesion."""
    angle = rng.uniform(0, 2 * np.pi)
    u = np.array([np.cos(angle), np.sin(angle)])
    start = rng.uniform(0.38, 0.46) * u + 0.25 * np.array([u[1], -u[0]])
    line = bent_line(rng, start, angle + np.pi / 2, 0.5, 0.8, 0.02)
    dye = np.array([[1.7, 1.3, 0.35], [1.2, 1.6, 0.5]])[rng.integers(2)]
    blur = 0.012 * frame.short
    thick = ndimage.gaussian_filter(frame.strokes([(line, rng.uniform(0.05, 0.09))]), (blur, blur, 0))
    grain = ndimage.gaussian_filter(rng.standard_normal(frame.x.shape), blur)  # it runs into the skin's furrows
    thick = smooth_step(thick - 0.5 + 0.1 * (grain / grain.std())[..., None], 0.22)
    return rgb * np.exp(-dye * rng.uniform(0.7, 1.5) * thick)


def _bubble(rgb: np.ndarray, rng: np.random.Generator, frame: Frame) -> np.ndarray:
    """An air bubble in the contact gel: a bright rim, brighter on one side."""
    right, _ = frame.corner
    cx, cy, r = rng.uniform(-right, right), rng.uniform(-0.5, 0.5), rng.uniform(0.012, 0.045)
    distance = np.hypot(frame.x - cx, frame.y - cy) / r
    side = 0.5 + 0.5 * np.cos(np.arctan2(frame.y - cy, frame.x - cx) - 2.2)
    rim = np.exp(-(((distance - 1) / 0.22) ** 2)) * side
    return rgb + (0.4 * rim - 0.04 * (distance < 1))[..., None] * (1 - rgb)


def _hairs(rgb: np.ndarray, rng: np.random.Generator, frame: Frame, n: int) -> np.ndarray:
    """n hairs of one colour that lie in about one direction."""
    main, bend, lines = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.9), []
    for middle in rng.uniform(-frame.corner, frame.corner, (n, 2)):
        angle, length = main + rng.normal(0, 0.45), rng.uniform(0.25, 1.1)
        start = middle - 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
        curve, width = bent_line(rng, start, angle, length, bend, 0.015, 24), rng.uniform(0.006, 0.014)
        lines += [(curve[:12], width), (curve[11:19], 0.75 * width), (curve[18:], 0.45 * width)]  # root to tip
    colour = np.array([0.06, 0.035, 0.025]) * rng.uniform(0.3, 2.5)
    return rgb + rng.uniform(0.75, 0.95) * frame.strokes(lines) * (colour - rgb)


def _glints(rgb: np.ndarray, rng: np.random.Generator, frame: Frame, n: int) -> np.ndarray:
    """n reflections of the lamp on scale, wet skin and fine pale hair, in one place."""
    where, angle = rng.normal(0, 0.14, 2), rng.uniform(0, np.pi)
    lines = []
    for at in where + rng.normal(0, 0.16, (n, 2)):
        lines.append((bent_line(rng, at, angle + rng.normal(0, 0.5), rng.exponential(0.02), 0.8, 0.1, 5), 0.005))
    return rgb + rng.uniform(0.25, 0.8) * frame.strokes(lines) * (0.9 - rgb)


def _ruler(rgb: np.ndarray, rng: np.random.Generator, frame: Frame) -> np.ndarray:
    """The ticks of a ruler, every fifth one longer, within the central square."""
    angle, along = rng.choice(4) * np.pi / 2 + rng.normal(0, 0.25), np.arange(-0.9, 0.9, 0.06)
    u, v = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    edge = rng.uniform(0.36, 0.43) * v
    ticks = [
        (np.stack([edge + t * u, edge + t * u + (0.09 if i % 5 == 0 else 0.05) * v]), 0.010)
        for i, t in enumerate(along)
    ]
    return rgb * (1 - 0.9 * frame.strokes(ticks))
