"""Feature extractors: networks whose features of two sets of images are compared, in one registry.

`REGISTRY` holds one entry for each kind. A kind is recognised by a file in the extractor's folder. All kinds are cached
in the same way: features are kept under the SHA-256 of the pixels that were embedded, so that a changed crop or a
reduced image is another image.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from p2d_lib.files import atomic, sha256
from p2d_lib.models import classifiers

INCEPTION = "inception-2015-12-05.pt"
BATCH = 32  # images that an extractor embeds at once

Embed = Callable[[np.ndarray], np.ndarray]  # uint8 (b, h, w, 3) -> float32 (b, d)


@dataclass(frozen=True)
class Kind:
    """A kind of extractor: the file that its folder holds, what captions say of it, and how it is loaded."""

    weights: str
    note: str
    load: Callable[[Path, torch.device], Embed]


def _scout(folder: Path, device: torch.device) -> Embed:
    """The penultimate layer of a classifier: d = 128 for tiny_resnet."""
    model = classifiers.load(folder, device)
    return lambda images: classifiers.predict(model, images, device)["embedding"]


def _inception(folder: Path, device: torch.device) -> Embed:
    """d = 2048. Images are resized to 299 px as in Parmar, Zhang, Zhu, CVPR 2022 (clean-fid)."""
    from cleanfid.inception_torchscript import InceptionV3W
    from cleanfid.resize import make_resizer

    model = InceptionV3W(str(folder), download=False).to(device).eval()
    resize = make_resizer("PIL", False, "bicubic", (299, 299))

    @torch.inference_mode()
    def embed(images: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.stack([resize(image) for image in images]))
        return model(pixels.to(device).permute(0, 3, 1, 2)).float().cpu().numpy()

    return embed


REGISTRY = {
    "scout": Kind(
        classifiers.WEIGHTS,
        "the scout was fitted on this run's train images: it ranks this run's generators and is no judge of realism",
        _scout,
    ),
    "inception": Kind(INCEPTION, "Inception was trained on ImageNet", _inception),
}


def kind(folder: Path) -> str:
    """The key in REGISTRY of the extractor that a folder holds. Raises FileNotFoundError where it holds none."""
    for name, entry in REGISTRY.items():
        if (folder / entry.weights).exists():
            return name
    known = ", ".join(f"{entry.weights} ({name})" for name, entry in REGISTRY.items())
    raise FileNotFoundError(f"{folder} holds no feature extractor: one of these files is expected there: {known}")


def identity(folder: Path) -> str:
    """The name of an extractor in captions and caches: its kind, a hyphen, 12 digits of its weights' SHA-256."""
    name = kind(folder)
    return f"{name}-{sha256(folder / REGISTRY[name].weights)[:12]}"


class Extractor:
    """A loaded extractor with a cache of features on disk.

    folder: holds the weights of a registered kind. cache: the run's folder of features; None keeps nothing. Calls that
    find all features in the cache load no network.
    """

    def __init__(self, folder: Path, device: torch.device, cache: Path | None = None):
        self.folder, self.device, self.name = folder, device, identity(folder)
        self.note = REGISTRY[kind(folder)].note  # what one must know to judge its distances
        self._cache = cache / self.name if cache else None
        self._known: dict[str, np.ndarray] = {}
        self._embed: Embed | None = None
        for part in sorted(self._cache.glob("*.npz")) if self._cache else ():
            with np.load(part) as stored:
                self._known |= zip(stored["sha256"].tolist(), stored["features"], strict=True)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features of uint8 (n, h, w, 3): float32 (n, d). What the cache lacks is computed and added to it."""
        keys = [_key(image) for image in images]
        new = {key: row for row, key in enumerate(keys) if key not in self._known}
        if new:
            computed = self._compute(images[list(new.values())])
            self._known |= zip(new, computed, strict=True)
            self._add(list(new), computed)
        return np.stack([self._known[key] for key in keys])

    def _compute(self, images: np.ndarray) -> np.ndarray:
        if self._embed is None:
            self._embed = REGISTRY[kind(self.folder)].load(self.folder, self.device)
        starts = range(0, len(images), BATCH)
        return np.concatenate([self._embed(images[start : start + BATCH]) for start in starts])

    def _add(self, keys: list[str], features: np.ndarray) -> None:
        """One more file with these features; files that are there are not touched, by this process or another."""
        if self._cache:
            name = hashlib.sha256("".join(keys).encode()).hexdigest()[:24]
            with atomic(self._cache / f"{name}.npz") as partial, partial.open("wb") as stream:
                np.savez(stream, sha256=np.array(keys), features=features)


def _key(image: np.ndarray) -> str:
    return hashlib.sha256(f"{image.shape}".encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
