"""Copies among images: the same file, the same pixels, or a picture changed by crop, colour, turn or compression.

Two questions, one fingerprint. `duplicates` lists the pairs of copies in a set of real images. `nearest_originals` says
of each image of a set (synthetic ones) which original it resembles most and whether it is a copy of it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from p2d_lib.images import square
from p2d_lib.schemas import SPLITS

THUMBNAIL = 64  # px: a fingerprint needs no more
NEAR = 0.06  # largest distance of near-duplicates; see `duplicates`
FLAT = 4.0  # weighted grey levels: a picture with less contrast resembles nothing

# A copy lies at most COPY_RATIO times as far from its original as from the NEIGHBOURS next originals. Measured at 64 px
# on real images of other lesions than the originals': 0 of 390 (phantom, 1,010 originals) and 1 of 2,797 (HAM10000,
# 7,218 originals) pass for copies. Of copies that are cropped by up to 8 %, tinted by up to 15 %, turned, mirrored,
# given noise of 6 grey levels and recompressed as JPEG of quality 50 to 90, all at once, 97 % are found in both sets.
COPY_RATIO = 0.15
NEIGHBOURS = 50  # as in Carlini et al., Extracting Training Data from Diffusion Models, USENIX Security 2023, sec. 4
CANDIDATES = 5  # originals that each image is compared with crop by crop

Box = tuple[float, float, float]  # top, left and side of a square part of a picture, as shares of its side
WHOLE: Box = (0.0, 0.0, 1.0)
CROPS: tuple[Box, ...] = (
    WHOLE,
    *(
        (top, left, side)
        for side in (0.96, 0.92, 0.88)
        for top, left in product((0, (1 - side) / 2, 1 - side), repeat=2)
    ),
)

_SIDE, _SIDE_OF_COLOUR, _COLOUR = 12, 8, 1.75  # colour is coarser, as JPEG keeps it, and counts for more
_OPPONENT = np.array([[0.299, 0.587, 0.114], [1, -1, 0], [0, 1, -1]], np.float32).T
_U, _V = np.mgrid[:_SIDE, :_SIDE]
_LOW = (_U + _V < _SIDE) & (_U + _V > 0)
_FINER = np.where(_LOW, np.hypot(_U, _V) ** 0.5, 0).astype(
    np.float32
)  # pictures differ more in their finer frequencies
_WEIGHT = np.stack([_FINER, *[_COLOUR * _FINER * (_U + _V < _SIDE_OF_COLOUR)] * 2]).astype(np.float32)
_PARITIES = [_LOW & (np.reshape(odd, (2, 1, 1)) == (_U % 2, _V % 2)).all(0) for odd in np.ndindex(2, 2)]


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Images of THUMBNAIL px at most, uint8 (n, side, side, 3), of uint8 (n, s, s, 3); smaller ones as they are."""
    if images.shape[1] <= THUMBNAIL:
        return images
    return np.stack([square(Image.fromarray(image), THUMBNAIL, Image.Resampling.BOX) for image in images])


def opponent_planes(images: np.ndarray, balanced: bool, at_once: int = 500) -> Iterator[np.ndarray]:
    """Lightness and two opponent colours, float32 (b, 3, h, w), of uint8 (n, h, w, 3), some images at a time.

    balanced: each band is first brought to the mean 128 (von Kries), which undoes exposure and white balance.
    """
    for start in range(0, len(images), at_once):
        block = images[start : start + at_once].astype(np.float32)
        if balanced:
            block *= 128 / np.maximum(block.mean(axis=(1, 2), keepdims=True), 32)
        yield np.moveaxis(block @ _OPPONENT, -1, 1)


def fingerprint(images: np.ndarray, boxes: Sequence[Box] = (WHOLE,)) -> np.ndarray:
    """Features of a picture that compression, exposure, white balance and a small change of scale hardly alter.

    images: uint8 (n, h, w, 3), at least 12 px. boxes: the parts of each picture to take, by default all of it. Returns
    float32 (n x boxes, 3, 12, 12), the boxes of a picture one after the other: the low frequencies of the discrete
    cosine transform, as in the DCT hash (Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions,
    2010), but of colours too, and not cut to bits; of length 1, or 0 where there is no picture. A mirrored picture has
    the odd coefficients' signs changed, a transposed one rows and columns exchanged.
    """
    h, w = images.shape[1:3]
    bases = [(_cosines(h, top, side), _cosines(w, left, side).T) for top, left, side in boxes]
    parts = [np.zeros((0, len(boxes), 3, _SIDE, _SIDE), np.float32)]
    for planes in opponent_planes(images, balanced=True):
        parts.append(np.stack([down @ planes @ across * _WEIGHT for down, across in bases], axis=1))
    return _normed(np.concatenate(parts).reshape(-1, 3, _SIDE, _SIDE), FLAT)


def _cosines(n: int, start: float, length: float) -> np.ndarray:
    """The first cosines of the part of n pixels from start (a share of n) on, as long as length: float32 (12, n).

    Pixels that the part cuts count by the share that lies in it; over all of n this is the orthonormal DCT / sqrt(n).
    """
    edges = np.clip(np.arange(n + 1), start * n, (start + length) * n)
    centres, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    frequency = np.arange(_SIDE)[:, None]
    waves = np.cos(np.pi * frequency * (centres - start * n) / (length * n)) * widths / (length * n)
    return (np.where(frequency == 0, 1, np.sqrt(2)) * waves).astype(np.float32)


def _normed(prints: np.ndarray, floor: float) -> np.ndarray:
    length = np.sqrt((prints**2).sum(axis=(1, 2, 3), keepdims=True))
    return np.where(length >= floor, prints / np.maximum(length, floor), 0)


def _common(prints: np.ndarray) -> np.ndarray:
    """What all pictures share in every orientation, such as a round spot and dark corners: (3, 12, 12)."""
    mean = prints.mean(axis=0) * ((_U % 2 == 0) & (_V % 2 == 0))
    return (mean + mean.swapaxes(1, 2)) / 2


def _centred(prints: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Fingerprints less what is common to a set, of length 1; a fingerprint of 0 stays 0."""
    return _normed(np.where(prints.any(axis=(1, 2, 3), keepdims=True), prints - common, 0), 1e-3)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest correlation of fingerprints over the eight turns and mirrorings: (n_a, n_b).

    Mirroring flips the sign of the odd coefficients, so all eight orientations follow from two matrix products, split
    by parity.
    """
    best = np.full((len(a), len(b)), -1, np.float32)
    for turned in (a, a.swapaxes(2, 3)):
        ee, eo, oe, oo = (turned[..., k].reshape(len(a), -1) @ b[..., k].reshape(len(b), -1).T for k in _PARITIES)
        for mirrored in (ee + oo + abs(eo + oe), ee - oo + abs(eo - oe)):
            np.maximum(best, mirrored, out=best)
    return best


class Originals(NamedTuple):
    """Originals with their fingerprints, so that many sets of images can be compared with them."""

    images: np.ndarray  # uint8 (m, h, w, 3), m >= 1
    prints: np.ndarray  # float32 (m, 3, 12, 12), less what all share
    common: np.ndarray  # float32 (3, 12, 12), what all share


def prepared(originals: np.ndarray) -> Originals:
    """Originals, uint8 (m, h, w, 3), m >= 1, best as `thumbnails`, for `nearest`."""
    prints = fingerprint(originals)
    common = _common(prints)
    return Originals(originals, _centred(prints, common), common)


def nearest_originals(images: np.ndarray, originals: np.ndarray) -> pd.DataFrame:
    """`nearest` among originals, uint8 (m, h, w, 3), m >= 1, that are asked once."""
    return nearest(images, prepared(originals))


def nearest(images: np.ndarray, originals: Originals) -> pd.DataFrame:
    """Of each image the original that it resembles most, and whether it is a copy of it.

    images: uint8 (n, h, w, 3), best as `thumbnails`. Columns:

    - original: its row in the originals;
    - distance: 1 - the correlation of fingerprints (0..2), less what all originals share, over the eight turns and
      mirrorings and, for the CANDIDATES nearest originals, over CROPS of the original;
    - ratio: distance / mean distance to the NEIGHBOURS next originals. A picture that is merely typical has many
      originals nearly as near; a copy has one that is much nearer than the next (Carlini et al. 2023);
    - copy: ratio is at most COPY_RATIO, whose error rates stand there.

    A picture without contrast (one flat colour) resembles nothing: distance and ratio are 1. Time grows with n x m:
    about 20 s on one core for 7,000 images and 10,015 originals of 64 px.
    """
    queries = _centred(fingerprint(images), originals.common)
    parts = [np.zeros((0, 3))]
    for start in range(0, len(queries), 250):
        parts.append(_nearest(queries[start : start + 250], originals))
    row, distance, ratio = np.concatenate(parts).T
    return pd.DataFrame(
        {"original": row.astype(int), "distance": distance, "ratio": ratio, "copy": ratio <= COPY_RATIO}
    )


def _nearest(queries: np.ndarray, originals: Originals) -> np.ndarray:
    """Row, distance and ratio of the nearest original of each of the fingerprints `queries`: (n, 3)."""
    images, references, common = originals
    whole = 1 - _correlation(queries, references)
    n = min(NEIGHBOURS + 1, len(references))
    nearest = np.argpartition(whole, n - 1, axis=1)[:, :n]
    nearest = np.take_along_axis(nearest, np.take_along_axis(whole, nearest, 1).argsort(1, kind="stable"), 1)
    candidates = nearest[:, :CANDIDATES]
    rows, places = np.unique(candidates, return_inverse=True)
    crops = _centred(fingerprint(images[rows], CROPS), common).reshape(len(rows), len(CROPS), *common.shape)
    parts = []
    for query, rows_of_query, place in zip(queries, candidates, places.reshape(candidates.shape), strict=True):
        likeness = _correlation(query[None], crops[place].reshape(-1, *common.shape))[0]
        best = likeness.argmax()
        parts.append((rows_of_query[best // len(CROPS)], max(0.0, 1 - likeness[best])))
    row, distance = np.array(parts).T
    others = np.take_along_axis(whole, nearest, 1)[:, 1:].mean(1) if n > 1 else np.ones(len(queries))
    return np.stack([row, distance, distance / np.maximum(others, NEAR)], 1)  # NEAR: an original may itself be repeated


def duplicates(cases: pd.DataFrame, images: np.ndarray, near: float = NEAR) -> pd.DataFrame:
    """Pairs of copies within a set, the closest first.

    cases: table with image_id and, where it has them, sha256, lesion_id, dx, split; images: their squares, uint8 (n, h,
    w, 3). Returns image_a, image_b, kind, distance, same_lesion, same_dx, same_split (False where unknown) and splits
    ("test–train"; "" where unknown). kind "bytes": the same file, or the same pixels; distance is 0. kind "perceptual":
    at most `near`, which is 1 - the correlation of `fingerprint`s, less what all share, in the best of the eight turns
    and mirrorings.
    """
    prints, pairs = fingerprint(images), [_identical(cases, images)]
    prints = _centred(prints, _common(prints))
    for start in range(0, len(prints), 500):
        distance = np.maximum(0, 1 - _correlation(prints[start : start + 500], prints[start:]))
        i, j = np.nonzero(distance <= near)
        pairs.append(pd.DataFrame({"a": i + start, "b": j + start, "kind": "perceptual", "distance": distance[i, j]}))
    rows = pd.concat(pairs).drop_duplicates(["a", "b"]).sort_values(["distance", "a", "b"])
    rows = rows[rows["a"] < rows["b"]].reset_index(drop=True)
    left, right = (cases.iloc[rows[side]].reset_index(drop=True) for side in ("a", "b"))
    table = pd.DataFrame({"image_a": left["image_id"], "image_b": right["image_id"], "kind": rows["kind"]})
    table["distance"] = rows["distance"].astype(float)
    for column in ("lesion_id", "dx", "split"):
        table[f"same_{column.removesuffix('_id')}"] = left[column] == right[column] if column in cases else False
    parts = [side["split"] if "split" in cases else [""] * len(side) for side in (left, right)]
    table["splits"] = ["–".join(sorted(filter(None, pair), key=SPLITS.index)) for pair in zip(*parts, strict=True)]
    return table


def _identical(cases: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
    """Pairs of the same file or the same pixels, each in both orders."""
    keys = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    keys += list(cases["sha256"]) if "sha256" in cases else []
    table = pd.DataFrame({"key": keys, "row": np.arange(len(keys)) % len(images)})
    pairs = table.merge(table, on="key")
    return pd.DataFrame({"a": pairs["row_x"], "b": pairs["row_y"], "kind": "bytes", "distance": 0.0})
