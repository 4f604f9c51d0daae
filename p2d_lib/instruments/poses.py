"""Pictures as vectors of low frequencies, seen in many poses: cropped, shifted, turned; all of it is linear algebra.

A pose says which part of a picture is looked at. The vector of a posed picture is one matrix product, so thousands of
pictures are compared in hundreds of poses in seconds. The eight quarter turns and mirrorings cost nothing more: they
only change signs and exchange rows and columns of the coefficients.
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from p2d_lib.instruments.copies import opponent_planes

SIDE = 24  # px of the planes that are posed: twice the highest frequency
WAVES = 12  # frequencies along each axis
COLOUR_WAVES, COLOUR = 8, 1.75  # colour is coarser, as JPEG keeps it, and counts for more
TAPER = 0.25  # share of the side over which the window falls to 0: what enters at the border counts less
FLAT = 1.0  # weighted grey levels: a picture with less contrast resembles nothing

_U, _V = (grid.ravel() for grid in np.mgrid[:WAVES, :WAVES])
_LIGHT = np.flatnonzero((_U + _V < WAVES) & (_U + _V > 0))  # wave 0 is the mean, which white balance makes equal
_TINT = np.flatnonzero((_U + _V < COLOUR_WAVES) & (_U + _V > 0))
_KEYS = [(k, u, v) for k, waves in enumerate((_LIGHT, _TINT, _TINT)) for u, v in zip(_U[waves], _V[waves], strict=True)]
_KEYS.sort(key=lambda key: (key[1] % 2, key[2] % 2))  # by parity, so that a parity is a slice
_WEIGHT = np.array([np.hypot(u, v) ** 0.5 * (COLOUR if plane else 1) for plane, u, v in _KEYS], np.float32)
_ENDS = np.searchsorted([2 * (u % 2) + v % 2 for _, u, v in _KEYS], range(5))
_PARITIES = [slice(*ends) for ends in pairwise(_ENDS)]
_LIGHT_PARITIES = [slice(part.start, part.start + sum(plane == 0 for plane, _, _ in _KEYS[part])) for part in _PARITIES]
_PLACES = [[k for k, key in enumerate(_KEYS) if key[0] == plane] for plane in range(3)]
_TRANSPOSED = np.array([_KEYS.index((plane, v, u)) for plane, u, v in _KEYS])
LIGHTNESS = np.array([plane == 0 for plane, _, _ in _KEYS], np.float32)  # 1: this value of a vector is of lightness


class Pose(NamedTuple):
    """A square part of a picture: turned by `angle` degrees, with `side` and the shift of its centre as shares of the
    picture's side. What lies outside the picture is mirrored at its border."""

    angle: float = 0.0
    side: float = 1.0
    down: float = 0.0
    right: float = 0.0


WHOLE = Pose()


def grid(angles: Sequence[float], side: float, shifts: Sequence[float]) -> list[Pose]:
    """Poses of all angles and all pairs of shifts."""
    return [Pose(angle, side, *shift) for angle in angles for shift in product(shifts, repeat=2)]


COARSE = (  # finds the candidates
    *grid((0, 22.5, -22.5, 45), 1.0, (0,)),
    *grid((0,), 1.0, (-0.1, 0.1)),
    *grid((0,), 0.84, (-0.08, 0, 0.08)),
    *grid((0,), 0.76, (-0.12, 0, 0.12)),
    *grid((22.5, -22.5, 45), 0.85, (0,)),
)
_TURNS = (9, 18, 27, 36, 45, -9, -18, -27, -36)
FINE = (  # compares each candidate
    *grid((0,), 1.0, (-0.126, -0.084, -0.042, 0, 0.042, 0.084, 0.126)),
    *grid((0,), 0.94, (-0.03, 0.03)),
    *grid((0,), 0.88, (-0.06, 0, 0.06)),
    *grid((0,), 0.82, (-0.09, -0.045, 0, 0.045, 0.09)),
    *grid((0,), 0.76, (-0.12, -0.06, 0, 0.06, 0.12)),
    *grid(_TURNS, 1.0, (0,)),
    *grid(_TURNS, 0.94, (-0.04, 0.04)),
    *grid(_TURNS, 0.86, (-0.05, 0.05)),
)
OF_QUERY = (  # of the picture that is searched for: they lie between the poses of FINE
    WHOLE,
    Pose(0, 0.96),
    *(Pose(0, 0.96, *shift) for shift in ((0.02, 0), (-0.02, 0), (0, 0.02), (0, -0.02))),
    Pose(4.5, 0.97),
)


def planes(images: np.ndarray) -> np.ndarray:
    """Lightness and two opponent colours at SIDE px, white-balanced: float32 (3, n, SIDE * SIDE) of uint8 (n, s, s, 3),
    s at least SIDE."""
    if images.shape[1] < SIDE or images.shape[1] != images.shape[2]:
        raise ValueError(f"images of {images.shape[1]} x {images.shape[2]} px: squares from {SIDE} px on are needed")
    shrink = _area(images.shape[1])
    parts = [np.zeros((0, 3, SIDE, SIDE), np.float32)]
    parts += [shrink @ block @ shrink.T for block in opponent_planes(images, balanced=True, at_once=250)]
    return np.ascontiguousarray(np.concatenate(parts).reshape(-1, 3, SIDE * SIDE).swapaxes(0, 1))


@cache
def _area(n: int) -> np.ndarray:
    """The means of SIDE equal parts of n pixels: float32 (SIDE, n)."""
    edges = np.arange(SIDE + 1)[:, None] * n / SIDE
    covered = np.clip(edges - np.arange(n), 0, 1)
    return (np.diff(covered, axis=0) * SIDE / n).astype(np.float32)


def vectors(pictures: np.ndarray, pose: Pose = WHOLE) -> np.ndarray:
    """The weighted low frequencies of pictures in a pose: float32 (n, d) of `planes` (3, n, SIDE * SIDE)."""
    matrices = _matrices(pose)
    values = np.empty((pictures.shape[1], len(_KEYS)), np.float32)
    for picture, matrix, places in zip(pictures, matrices, _PLACES, strict=True):
        values[:, places] = picture @ matrix
    return values


@cache
def _matrices(pose: Pose) -> list[np.ndarray]:
    """For each plane: pixels -> weighted cosine waves of the windowed picture in this pose, less its mean, float32
    (SIDE * SIDE, waves)."""
    places = (np.arange(SIDE) + 0.5) / SIDE
    fall = np.clip((0.5 - abs(places - 0.5)) / TAPER, 0, 1)
    window = np.outer(*[0.5 - 0.5 * np.cos(np.pi * fall)] * 2).ravel()
    cosines = np.sqrt(2) ** (np.arange(WAVES) > 0)[:, None] * np.cos(np.pi * np.arange(WAVES)[:, None] * places) / SIDE
    u, v = (np.array(waves) for waves in list(zip(*_KEYS, strict=True))[1:])
    waves = (cosines[u, :, None] * cosines[v, None, :]).reshape(len(_KEYS), -1) * window
    waves = (waves - np.outer(waves.sum(1) / window.sum(), window)) * _WEIGHT[:, None]
    sampled = _sampled(pose)
    return [(waves[places] @ sampled).T.astype(np.float32) for places in _PLACES]


def _sampled(pose: Pose) -> np.ndarray:
    """Bilinear samples of a picture at the pixels of a pose: (SIDE * SIDE, SIDE * SIDE), a row a sample."""
    angle, n = np.deg2rad(pose.angle), SIDE
    y, x = (grid.ravel() for grid in np.meshgrid(*[(np.arange(n) + 0.5) / n - 0.5] * 2, indexing="ij"))
    down = (0.5 + pose.down + pose.side * (np.cos(angle) * y - np.sin(angle) * x)) * n - 0.5
    right = (0.5 + pose.right + pose.side * (np.sin(angle) * y + np.cos(angle) * x)) * n - 0.5
    result = np.zeros((n * n, n * n))
    for below, beside in product((0, 1), repeat=2):
        weight = abs(1 - below - down % 1) * abs(1 - beside - right % 1)
        source = _mirrored(np.floor(down) + below) * n + _mirrored(np.floor(right) + beside)
        np.add.at(result, (np.arange(n * n), source), weight)
    return result


def _mirrored(pixel: np.ndarray) -> np.ndarray:
    """Pixels outside 0..SIDE - 1 as those that a mirror at the border shows."""
    pixel = pixel.astype(int) % (2 * SIDE)
    return np.where(pixel < SIDE, pixel, 2 * SIDE - 1 - pixel)


def common(values: np.ndarray) -> np.ndarray:
    """What all pictures share in every orientation, such as a round spot and dark corners: (d,) of vectors (n, d)."""
    mean = unit(values, FLAT).mean(0)
    mean[_ENDS[1] :] = 0
    return (mean + mean[_TRANSPOSED]) / 2


def centred(values: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Vectors (n, d) less what is `common`, of length 1; a picture without contrast stays 0."""
    values = unit(values, FLAT)
    return unit(np.where(values.any(axis=1, keepdims=True), values - shared, 0), 1e-3)


def unit(values: np.ndarray, floor: float) -> np.ndarray:
    """Vectors (n, d) of length 1; 0 where their length is below floor."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(length >= floor, values / np.maximum(length, floor), 0).astype(np.float32)


def correlation(a: np.ndarray, b: np.ndarray, lightness: bool = False) -> np.ndarray:
    """Largest correlation of unit vectors a (n, d) and b (m, d) over the quarter turns and mirrorings: (n, m), -1..1.

    Mirroring changes the sign of the odd waves, so all eight orientations follow from two products, split by parity.
    lightness: all other values of the vectors are 0, which saves half of the work.
    """
    parities = _LIGHT_PARITIES if lightness else _PARITIES
    return _best_orientation(
        [[turned[:, waves] @ b[:, waves].T for waves in parities] for turned in (a, a[:, _TRANSPOSED])]
    )


def paired_correlation(a: np.ndarray, b: np.ndarray, lightness: bool = False) -> np.ndarray:
    """`correlation` of each picture, in the best of q poses, with k vectors of its own: (n, k).

    a (n, q, d): the picture's vectors by pose; b (n, k, d).
    """
    parities = _LIGHT_PARITIES if lightness else _PARITIES
    of_poses = _best_orientation(
        [
            [b[..., waves] @ turned[..., waves].swapaxes(1, 2) for waves in parities]
            for turned in (a, a[..., _TRANSPOSED])
        ]
    )
    return of_poses.max(axis=2)


def _best_orientation(products: list[list[np.ndarray]]) -> np.ndarray:
    largest = [np.maximum(ee + oo + abs(eo + oe), ee - oo + abs(eo - oe)) for ee, eo, oe, oo in products]
    return np.maximum(*largest)
