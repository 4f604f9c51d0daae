"""Feature extractors: networks whose features of two sets of images are compared, in one registry.

`REGISTRY` holds one entry for each name that the parameter `extractors` of 05 takes; `clip:ID` is any model of
open_clip. All are cached in the same way: features are kept under the SHA-256 of the pixels that were embedded, so that
a changed crop is another image.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from p2d_lib.files import atomic
from p2d_lib.models.extractors import dinov2, efficientnet, inception, open_clip_images, scout
from p2d_lib.models.extractors.kind import Kind, Loaded
from p2d_lib.suggest import did_you_mean

BATCH_ON_GPU = 64  # images that an extractor embeds at once

REGISTRY: dict[str, Callable[[str, Path | None], Kind]] = {
    **dict.fromkeys(efficientnet.SIDES, efficientnet.kind),
    "inception": inception.kind,
    "dinov2_vitl14": dinov2.kind,
    **dict.fromkeys(open_clip_images.OF_SKIN, open_clip_images.kind),
    "scout": scout.kind,
}


def find(name: str, folder: Path | None = None) -> Kind:
    """The registry's entry for a name. Raises ValueError for a name that it does not have."""
    if name.startswith(open_clip_images.PREFIX):
        return open_clip_images.kind(name, folder)
    if name not in REGISTRY:
        hint = did_you_mean(name, REGISTRY)
        raise ValueError(f"no extractor {name!r}{hint}; there are {', '.join(REGISTRY)} and clip:ID")
    return REGISTRY[name](name, folder)


class Extractor:
    """An extractor of the registry with a cache of features on disk.

    kind: a key of REGISTRY, or clip:ID. cache: the folder of features; None keeps nothing. folder: holds the weights in
    place of where the extractor finds them by itself; the scout needs it. Calls that find all features in the cache
    load no network. Raises ValueError for an unknown kind; FileNotFoundError or WeightsError, which name what to do,
    where the weights are missing.
    """

    def __init__(self, kind: str, device: torch.device, cache: Path | None = None, folder: Path | None = None):
        self.kind, self.device = find(kind, folder), device
        self.name = f"{re.sub('[^A-Za-z0-9._-]+', '-', kind)}-{self.kind.digest[:12]}"  # in captions and caches
        self.title = self.kind.title  # in tables
        self.note = self.kind.note  # what one must know to judge its distances
        self.dimension = self.kind.dimension
        self.independent = self.kind.independent  # False where it was fitted on images of the run
        self._cache = cache / self.name if cache else None
        self._known: dict[str, np.ndarray] = {}
        self._network: Loaded | None = None
        for part in sorted(self._cache.glob("*.npz")) if self._cache else ():
            self._known |= _stored(part, self.dimension)

    @property
    def caption(self) -> str:
        """One sentence for captions: network, id of the weights, size and resize rule of its input, and the note."""
        side = f"images resized to {self.kind.side} px ({self.kind.resize})" if self.kind.side else "images as they are"
        return f"Features: {self.title} ({self.name}, d = {self.dimension:,}), {side}; {self.note}."

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features of uint8 (n, h, w, 3): float32 (n, d). What the cache lacks is computed and added to it."""
        keys = [_key(image) for image in images]
        known = self._known if self._cache else {}
        new = {key: row for row, key in enumerate(keys) if key not in known}
        if new:
            computed = self._compute(images[list(new.values())])
            known |= zip(new, computed, strict=True)
            self._add(list(new), computed)
        return np.stack([known[key] for key in keys])

    def probabilities(self, features: np.ndarray) -> np.ndarray | None:
        """What the network's own last layer makes of its features (n, d): float32 (n, k), rows sum to 1.

        The Inception Score needs it. None for a network without classes (DINOv2, CLIP).
        """
        classify = self._loaded().classify
        return classify(features) if classify else None

    def _loaded(self) -> Loaded:
        if self._network is None:
            self._network = self.kind.load(self.device)
        return self._network

    def _compute(self, images: np.ndarray) -> np.ndarray:
        batch = self.kind.batch_on_cpu if self.device.type == "cpu" else BATCH_ON_GPU
        starts = range(0, len(images), batch)
        features = np.concatenate([self._loaded().embed(images[start : start + batch]) for start in starts])
        for row in np.flatnonzero(~np.isfinite(features).all(axis=1)):
            raise ValueError(
                f"{self.title} gives a feature that is no finite number for one of {len(images)} images (mean grey "
                f"level {images[row].mean():.0f}, SHA-256 of its pixels {_key(images[row])}): look at it, or name "
                "another extractor"
            )
        return features

    def _add(self, keys: list[str], features: np.ndarray) -> None:
        """One more file with these features; files that are there are not touched, by this process or another."""
        if self._cache:
            name = hashlib.sha256("".join(keys).encode()).hexdigest()[:24]
            with atomic(self._cache / f"{name}.npz") as partial, partial.open("wb") as stream:
                np.savez(stream, sha256=np.array(keys), features=features)


def _stored(part: Path, dimension: int) -> dict[str, np.ndarray]:
    """What one file of a cache knows; nothing where it is broken, so that its features are computed again."""
    try:
        with np.load(part) as stored:
            keys, features = stored["sha256"].tolist(), stored["features"]
    except Exception:  # what numpy meets in broken bytes: OSError, EOFError, KeyError, BadZipFile, …
        return {}
    if features.shape != (len(keys), dimension) or not np.isfinite(features).all():
        return {}
    return dict(zip(keys, features, strict=True))


def _key(image: np.ndarray) -> str:
    return hashlib.sha256(f"{image.shape}".encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
