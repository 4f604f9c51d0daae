"""Fréchet distance of any set of images to a reference file, which goes where the reference's images may not go.

A reference file (.npz, without pickles) holds mean and covariance of features, which extractor made them, a digest of
the images, and the floor: the distance of some of the reference's own images to the others, at several n.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from p2d_lib.fidelity.picture_sources import Source, SourceError
from p2d_lib.files import atomic
from p2d_lib.instruments.distances import frechet_of_moments
from p2d_lib.instruments.moments import Moments
from p2d_lib.models.extractors import Extractor
from p2d_lib.seeds import derive

PART, PART_BYTES = 64, 2**28  # images in memory at once, and their bytes: 64 photographs may fill it
FOR_FLOOR = 4000  # images whose features are kept for the floor: 32 MB of Inception's
FLOOR_SIZES = (10, 20, 50, 100, 200, 500, 1000, 2000)
FLOOR_REPLICATES = 6


@dataclass(frozen=True)
class Reference:
    """What a reference file holds."""

    n: int
    mean: np.ndarray  # (d,)
    covariance: np.ndarray  # (d, d)
    kind: str  # the extractor's name in the registry
    extractor: str  # its name with the digest of its weights
    images: str  # SHA-256 of names and pixels
    floor_n: np.ndarray  # (k,) numbers of further real images, increasing
    floor: np.ndarray  # (k,) the distance that is expected of them

    @property
    def moments(self) -> Moments:
        return Moments.of(self.n, self.mean, self.covariance)

    def floor_at(self, n: int) -> float | None:
        """The distance expected of n further images like the reference's; None where the reference is too small to say.

        Between the sizes that were measured it is interpolated, both axes in logarithms.
        """
        if not len(self.floor_n) or not self.floor_n[0] <= n <= self.floor_n[-1]:
            return None
        return float(np.exp(np.interp(np.log(n), np.log(self.floor_n), np.log(self.floor.clip(1e-12)))))

    def save(self, path: Path) -> None:
        with atomic(path) as partial, partial.open("wb") as stream:
            np.savez(stream, **{field.name: getattr(self, field.name) for field in fields(self)})


def load(path: Path) -> Reference:
    """Raises SourceError for a file that is missing, is no reference file, or holds what cannot be."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            values = {field.name: stored[field.name] for field in fields(Reference)}
        _check_values(values)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such reference file; make one with python -m p2d_lib.fidelity ref") from None
    except Exception as error:  # what numpy meets in another file: OSError, KeyError, BadZipFile, TypeError, …
        reason = "it is no .npz" if "pickle" in str(error) else error  # what numpy says of any file
        raise SourceError(f"{path}: is no reference file ({reason}); make it again") from None
    return Reference(**{name: value.item() if not value.ndim else value for name, value in values.items()})


def _check_values(values: dict[str, np.ndarray]) -> None:
    """Raises ValueError for a field of another shape or type than Reference says, and for impossible numbers."""
    d, k = values["mean"].size, values["floor_n"].size
    shapes = {"mean": (d,), "covariance": (d, d), "floor_n": (k,), "floor": (k,)}
    for name, value in values.items():
        is_text, expected = name in ("kind", "extractor", "images"), shapes.get(name, ())
        if value.shape != expected or (value.dtype.kind == "U") != is_text:
            what = "text" if is_text else "numbers"
            raise ValueError(f"{name} holds {value.dtype} of shape {value.shape}, expected {what} of shape {expected}")
        if not is_text and not np.isfinite(value).all():
            raise ValueError(f"{name} holds a number that is not finite")
        if not is_text and value.dtype.kind not in "iuf":
            raise ValueError(f"{name} holds {value.dtype}, expected real numbers")
    if values["n"] < 2 or values["n"] % 1:
        raise ValueError(f"n is {values['n']}, expected a whole number, 2 or more")
    covariance = values["covariance"]
    if not d or (covariance.diagonal() < 0).any():
        raise ValueError("covariance holds no variance, or one below 0")
    bound = np.sqrt(np.outer(covariance.diagonal(), covariance.diagonal()))
    if not np.allclose(covariance, covariance.T) or (np.abs(covariance) > 1.001 * bound + 1e-6 * bound.max()).any():
        raise ValueError("covariance is none: it is not symmetric, or larger than its variances allow")
    if (values["floor_n"] < 1).any() or (np.diff(values["floor_n"]) < 0).any() or (values["floor"] < 0).any():
        raise ValueError("floor_n falls, or holds a number below 1, or floor holds a distance below 0")


def make(path: Path, kind: str, extractor: Extractor, seed: int = 0) -> Reference:
    """The reference of all images of a folder or tar file. Memory grows with FOR_FLOOR and d, not with the images.

    kind: the extractor's name in the registry. seed: of the choice of images for the floor. Raises SourceError for
    fewer than two images, images.ImageError for one that cannot be read.
    """
    source = Source(path)
    chosen = np.random.default_rng(derive(seed, "floor")).permutation(len(source))[:FOR_FLOOR]
    place = {row: k for k, row in enumerate(chosen.tolist())}
    kept, moments, digest, row = np.empty((len(chosen), extractor.dimension), np.float32), Moments(), _Digest(), 0
    for names, pixels, features in _embedded(source, extractor):
        digest.add(names, pixels)
        moments.add(features)
        for feature in features:
            if row in place:
                kept[place[row]] = feature
            row += 1
    _check_count(source, moments.n)
    floor_n, floor = _floor(kept, moments, seed)
    return Reference(
        moments.n, moments.mean, moments.covariance, kind, extractor.name, digest.hexdigest(), floor_n, floor
    )


def measure(path: Path, reference: Reference, extractor: Extractor) -> dict:
    """Fréchet distance of all images of a folder or tar file to a reference.

    Keys: frechet, n, floor (None where the reference is too small to say), ratio (frechet over floor, or None),
    reference_n, extractor, caption and notes, sentences that one must know to judge the number. Raises SourceError for
    another extractor than the reference's and for fewer than two images, images.ImageError for one that cannot be read.
    """
    if extractor.name != reference.extractor:
        raise SourceError(
            f"the reference was made with {reference.extractor}, not with {extractor.name}: make it again"
        )
    source, moments, digest = Source(path), Moments(), _Digest()
    for names, pixels, features in _embedded(source, extractor):
        digest.add(names, pixels)
        moments.add(features)
    _check_count(source, moments.n)
    distance, floor = frechet_of_moments(moments, reference.moments), reference.floor_at(moments.n)
    return {
        "frechet": distance,
        "n": moments.n,
        "floor": floor,
        "ratio": distance / floor if floor else None,
        "reference_n": reference.n,
        "extractor": extractor.name,
        "caption": extractor.caption,
        "notes": _notes(moments, reference, digest.hexdigest() == reference.images, floor),
    }


def _notes(moments: Moments, reference: Reference, same: bool, floor: float | None) -> list[str]:
    notes = []
    if same:
        notes.append("These are the reference's own images.")
    if min(moments.n, reference.n) <= moments.d:
        notes.append(
            f"{min(moments.n, reference.n):,} images are too few for a covariance of {moments.d:,} features: compare "
            "this number only with others at the same n; near or below the floor, it can mean little variety."
        )
    if floor is None:
        largest = f"up to {reference.floor_n[-1]:,} images" if len(reference.floor_n) else "no size"
        notes.append(f"The reference holds {reference.n:,} images, enough for a floor at {largest}, not at this n.")
    return notes


def _embedded(source: Source, extractor: Extractor) -> Iterator[tuple[list[str], list[np.ndarray], np.ndarray]]:
    """Names, images and features (b, d) of PART images at a time, in the source's order, with a progress bar."""
    with tqdm(total=len(source), desc="features", unit="image", mininterval=1) as bar:
        for part in _parts(source):
            for _, same_size in groupby(part, key=lambda picture: picture[1].shape):
                names, pixels = zip(*same_size, strict=True)
                yield list(names), list(pixels), extractor(np.stack(pixels))
            bar.update(len(part))


def _parts(source: Source) -> Iterator[list[tuple[str, np.ndarray]]]:
    """Names and images, at most PART at a time and no more once they have PART_BYTES."""
    part, size = [], 0
    for name, pixels in source:
        part.append((name, pixels))
        size += pixels.nbytes
        if len(part) == PART or size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _check_count(source: Source, n: int) -> None:
    if n != len(source):
        raise SourceError(f"{source.path}: held {len(source):,} images and now holds {n:,}; repeat it when it is whole")
    if n < 2:
        raise SourceError(f"{source.path}: holds one image; a distance needs two or more")


def _floor(features: np.ndarray, moments: Moments, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of further images (k,), and the mean distance expected of so many to the whole reference.

    features (m, d): of some of its images. Measured between m' of them and the rest, whose expectation grows with
    1/m' + 1/(N - m') (Chong, Forsyth, CVPR 2020): n further images beside all N have it where 1/n + 1/N is as large.
    """
    half = min(len(features), moments.n // 2)
    sizes = [size for size in FLOOR_SIZES if size < half] + ([half] if half >= FLOOR_SIZES[0] else [])
    rng, means = np.random.default_rng(derive(seed, "floor subsets")), []
    for size in tqdm(sizes, desc="floor", unit="size", mininterval=1):
        choices = [rng.choice(len(features), size, replace=False) for _ in range(FLOOR_REPLICATES)]
        subsets = [Moments().add(features[rows]) for rows in choices]
        means.append(np.mean([frechet_of_moments(subset, moments.without(subset)) for subset in subsets]))
    sizes = np.array(sizes, float)
    further = 1 / (1 / sizes + 1 / (moments.n - sizes) - 1 / moments.n)
    return further.round().astype(int), np.array(means)


class _Digest:
    """SHA-256 of the names and pixels of images, whatever order they came in."""

    def __init__(self):
        self._lines: list[bytes] = []

    def add(self, names: list[str], pixels: list[np.ndarray]) -> None:
        for name, image in zip(names, pixels, strict=True):
            self._lines.append(
                hashlib.sha256(f"{name}:{image.shape}:".encode("utf-8", "surrogateescape") + image.tobytes()).digest()
            )

    def hexdigest(self) -> str:
        return hashlib.sha256(b"".join(sorted(self._lines))).hexdigest()
