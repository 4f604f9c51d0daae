"""Copies among images: the same file, the same pixels, or a picture changed by crop, colour, turn or compression."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import fft

from p2d_lib.schemas import SPLITS

NEAR = 0.06  # largest distance of near-duplicates; see `duplicates`
FLAT = 4.0  # weighted grey levels: a picture with less contrast resembles nothing

_SIDE, _SIDE_OF_COLOUR, _COLOUR = 12, 8, 1.75  # colour is coarser, as JPEG keeps it, and counts for more
_OPPONENT = np.array([[0.299, 0.587, 0.114], [1, -1, 0], [0, 1, -1]], np.float32).T
_U, _V = np.mgrid[:_SIDE, :_SIDE]
_LOW = (_U + _V < _SIDE) & (_U + _V > 0)
_FINER = np.where(_LOW, np.hypot(_U, _V) ** 0.5, 0).astype(np.float32)  # pictures differ more in what is finer
_WEIGHT = np.stack([_FINER, *[_COLOUR * _FINER * (_U + _V < _SIDE_OF_COLOUR)] * 2]).astype(np.float32)
_PARITIES = [_LOW & (np.reshape(odd, (2, 1, 1)) == (_U % 2, _V % 2)).all(0) for odd in np.ndindex(2, 2)]


def _planes(images: np.ndarray, balanced: bool, at_once: int = 500) -> Iterator[np.ndarray]:
    """Lightness and two opponent colours, float32 (b, 3, h, w), of uint8 (n, h, w, 3), some images at a time.

    balanced: each band is first brought to the mean 128 (von Kries), which undoes exposure and white balance.
    """
    for start in range(0, len(images), at_once):
        block = images[start : start + at_once].astype(np.float32)
        if balanced:
            block *= 128 / np.maximum(block.mean(axis=(1, 2), keepdims=True), 32)
        yield np.moveaxis(block @ _OPPONENT, -1, 1)


def fingerprint(images: np.ndarray) -> np.ndarray:
    """What stays of a picture however it is compressed, exposed, balanced or scaled a little: float32 (n, 3, 12, 12).

    images: uint8 (n, h, w, 3), at least 12 px. The low frequencies of the discrete cosine transform, as in the DCT hash
    (Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010), but of colours too, and not cut
    to bits; of length 1, or 0 where there is no picture. A mirrored picture has the odd coefficients' signs changed, a
    transposed one rows and columns exchanged.
    """
    h, w = images.shape[1:3]
    down, across = (fft.dct(np.eye(n, dtype=np.float32), axis=0, norm="ortho")[:_SIDE] for n in (h, w))
    prints = [down @ planes @ across.T * _WEIGHT / np.sqrt(h * w) for planes in _planes(images, balanced=True)]
    return _normed(np.concatenate([np.zeros((0, 3, _SIDE, _SIDE), np.float32), *prints]), FLAT)


def _normed(prints: np.ndarray, floor: float) -> np.ndarray:
    length = np.sqrt((prints**2).sum(axis=(1, 2, 3), keepdims=True))
    return np.where(length >= floor, prints / np.maximum(length, floor), 0)


def _centred(prints: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Fingerprints less what the pictures `of` have in common however turned: a round spot, dark corners."""
    mean = of.mean(axis=0) * ((_U % 2 == 0) & (_V % 2 == 0))
    common = (mean + mean.swapaxes(1, 2)) / 2
    return _normed(np.where(prints.any(axis=(1, 2, 3), keepdims=True), prints - common, 0), 1e-3)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest correlation of fingerprints over the eight turns and mirrorings: (n_a, n_b).

    Of a product's four parts by parity, mirroring changes signs only: the eight cost two products.
    """
    best = np.full((len(a), len(b)), -1, np.float32)
    for turned in (a, a.swapaxes(2, 3)):
        ee, eo, oe, oo = (turned[..., k].reshape(len(a), -1) @ b[..., k].reshape(len(b), -1).T for k in _PARITIES)
        for mirrored in (ee + oo + abs(eo + oe), ee - oo + abs(eo - oe)):
            np.maximum(best, mirrored, out=best)
    return best


def duplicates(
    cases: pd.DataFrame,
    images: np.ndarray,
    others: pd.DataFrame | None = None,
    other_images: np.ndarray | None = None,
    near: float = NEAR,
) -> pd.DataFrame:
    """Pairs of copies within a set, or between it and another (real and synthetic), the closest first.

    cases, others: tables with image_id and, where they have them, sha256, lesion_id, dx, split; images, other_images:
    their squares, uint8 (n, h, w, 3). Returns image_a, image_b, kind, distance, same_lesion, same_dx, same_split (False
    where one side has none) and splits ("test–train"; "" where unknown). kind "bytes": the same file, or the same
    pixels; distance is 0. kind "perceptual": at most `near`, which is 1 - the correlation of `fingerprint`s, less what
    all of `cases` share, in the best of the eight turns and mirrorings.
    """
    within = others is None
    others, other_images = (cases, images) if within else (others, other_images)
    pairs = [_identical(cases, images, others, other_images)]
    prints = fingerprint(images)
    a, b = _centred(prints, prints), _centred(fingerprint(other_images), prints)
    for start in range(0, len(a), 500):
        first = start if within else 0
        distance = 1 - _correlation(a[start : start + 500], b[first:])
        i, j = np.nonzero(distance <= near)
        pairs.append(pd.DataFrame({"a": i + start, "b": j + first, "kind": "perceptual", "distance": distance[i, j]}))
    found = pd.concat(pairs).drop_duplicates(["a", "b"]).sort_values(["distance", "a", "b"], ignore_index=True)
    if within:
        found = found[found["a"] < found["b"]].reset_index(drop=True)
    left, right = cases.iloc[found["a"]].reset_index(drop=True), others.iloc[found["b"]].reset_index(drop=True)
    table = pd.DataFrame({"image_a": left["image_id"], "image_b": right["image_id"], "kind": found["kind"]})
    table["distance"] = found["distance"].astype(float).clip(lower=0)
    for column in ("lesion_id", "dx", "split"):
        known = column in left and column in right
        table[f"same_{column.removesuffix('_id')}"] = left[column] == right[column] if known else False
    parts = [side["split"] if "split" in side else [""] * len(side) for side in (left, right)]
    table["splits"] = ["–".join(sorted(filter(None, pair), key=SPLITS.index)) for pair in zip(*parts, strict=True)]
    return table


def _identical(*sides: pd.DataFrame | np.ndarray) -> pd.DataFrame:
    """Pairs of the same file or the same pixels; sides: cases, images, others, other_images."""
    keys = []
    for table, images in zip(sides[::2], sides[1::2], strict=True):
        pixels = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
        files = list(table["sha256"]) if "sha256" in table else []
        keys.append(pd.DataFrame({"key": pixels + files, "row": [*range(len(pixels)), *range(len(files))]}))
    pairs = keys[0].merge(keys[1], on="key")
    return pd.DataFrame({"a": pairs["row_x"], "b": pairs["row_y"], "kind": "bytes", "distance": 0.0})
