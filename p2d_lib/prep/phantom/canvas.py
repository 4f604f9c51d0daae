"""Maps of what absorbs or scatters light in a lesion, and the shapes and textures that are put on them.

Lengths are in units of an image's short side. No network is finer than 0.046 of it, 3 px of a 64 px image.
"""

from functools import cache

import numpy as np
from PIL import Image, ImageDraw
from scipy import fft

HALF = 0.8  # a lesion's maps lie over -HALF..HALF short sides
COARSE_PX = 160  # px of the maps of an image of up to 192 px; larger images get multiples of it


class Canvas:
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


canvas_of = cache(Canvas)


def smooth_step(value: np.ndarray, width) -> np.ndarray:
    """0 below -width, 1 above width, smooth between."""
    t = np.clip(value / (2 * width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def stroke_opacity(lines, shape: tuple[int, int], scale: float, origin=(0.0, 0.0), over: int = 2) -> np.ndarray:
    """Opacity (0..1) of antialiased polylines. lines: (points (n, 2) in x, y; width), both in short sides."""
    sheet = Image.new("L", (shape[1] * over, shape[0] * over))
    pen = ImageDraw.Draw(sheet)
    for points, width in lines:
        path = [tuple(p) for p in (points + origin) * scale * over]
        pen.line(path, 255, max(1, round(width * scale * over)), "curve")
    return np.asarray(sheet.resize(shape[::-1], Image.Resampling.BOX), np.float32) / 255


def bent_line(rng, start, angle: float, length: float, bend: float, wander: float, steps: int = 14) -> np.ndarray:
    """A line that bends by about `bend` radians over its length and wanders by `wander`: (steps, 2)."""
    turns = angle + np.linspace(-1, 1, steps) * rng.normal(0, bend / 2) + np.cumsum(rng.normal(0, wander, steps))
    return np.asarray(start) + np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1) * length / steps, 0)


def vessel_tree(rng, start, angle: float, length: float, width: float) -> list:
    """A vessel that branches and thins out."""
    trunk = bent_line(rng, start, angle, length, 0.9, 0.22)
    lines = [(trunk, width)]
    if width > 0.009:
        for at in rng.choice(np.arange(3, 14), 2, replace=False):
            turn = rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
            lines += vessel_tree(rng, trunk[at], angle + turn, length * rng.uniform(0.4, 0.7), width * 0.72)
    return lines


class LesionMaps:
    """Maps of a lesion in the making: skin first, then its class adds to them and notes in `truth` what it added."""

    def __init__(self, rng: np.random.Generator, n: int, radius: float):
        self.rng, self.canvas, self.radius = rng, canvas_of(n), radius
        # height: of the outline: 0 on it, 1 at the centre, negative outside
        self.melanin, self.blood, self.deep, self.white, self.keratin, self.height = np.zeros((6, n, n), np.float32)
        self.truth = {}

    # fields of unit variance
    def field(self, transfer: np.ndarray) -> np.ndarray:
        waves, n = np.empty(transfer.size, np.complex64), self.canvas.n
        rng = np.random.default_rng(self.rng.integers(2**63))  # one number of self.rng, whatever n
        waves[self.canvas.order] = rng.standard_normal((waves.size, 2), np.float32).view(np.complex64)[:, 0]
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
        return smooth_step(-0.2 - waves, 1.2)

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
            disc = strength * smooth_step(1 - np.hypot(along / stretch, across) / size, soft)
            spots[window] = np.maximum(spots[window], disc)
        return spots

    def strokes(self, lines) -> np.ndarray:
        return stroke_opacity(lines, (self.canvas.n,) * 2, self.canvas.n / (2 * HALF), (HALF, HALF))

    def outline(self, oval: float, lobes: float, ragged: float) -> None:
        """Sets the outline. oval, lobes, ragged: amplitudes relative to the radius."""
        rng, theta = self.rng, self.canvas.theta + self.rng.uniform(0, 2 * np.pi)
        r = 1 + oval * np.cos(2 * theta)
        for k in (1, 3, 4, 5):
            r += lobes * rng.normal(0, 0.75 / k**0.5) * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
        fade = np.clip(1.6 - self.canvas.rho / self.radius, 0.1, 1)  # keeps the noise from growing islands far out
        self.height = 1 - self.canvas.rho / (self.radius * np.maximum(r, 0.35)) + ragged * fade * self.cloud(0.14, 2.4)

    def inside(self, edge: float) -> np.ndarray:
        """1 inside, 0 outside, over an edge about `edge` radii wide, whose softness varies along the outline."""
        return smooth_step(self.height, edge * np.exp(0.5 * self.smooth(0.3)) + 0.02)

    def chance(self, p: float, low: float = 0.25) -> float:
        """Strength of a structure: 0 with probability 1 - p, else low..1."""
        return float(self.rng.uniform(low, 1)) if self.rng.random() < p else 0.0

    def visible(self, strength: float, where: np.ndarray) -> float:
        """Strength of a structure that covers `where` (0..1): in full from a tenth of the lesion on, less below."""
        return strength * min(1.0, float(where[self.height > 0].mean()) / 0.1)
