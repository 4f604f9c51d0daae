"""Feature extractors: networks whose features of two sets of images are compared, in one registry.

`REGISTRY` holds one entry for each name that the parameter `extractors` of 05 takes. All are cached in the same way:
features are kept under the SHA-256 of the pixels that were embedded, so that a changed crop is another image.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from p2d_lib.files import atomic, sha256
from p2d_lib.models import classifiers
from p2d_lib.models.extractors import efficientnet

INCEPTION = "inception-2015-12-05.pt"
BATCH = 32  # images that an extractor embeds at once

Embed = Callable[[np.ndarray], np.ndarray]  # uint8 (b, h, w, 3) -> float32 (b, d)


@dataclass(frozen=True)
class Kind:
    """An extractor: what captions say of it, its file of weights, and how it is loaded.

    weights, load: of the folder that holds the weights, which only the scout and Inception need.
    """

    note: str
    weights: Callable[[Path | None], Path]
    load: Callable[[Path | None, torch.device], Embed]


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


def _efficientnet(name: str) -> Kind:
    return Kind(
        f"ImageNet weights, {efficientnet.SIDES[name]} px; it has never seen an image of this project",
        lambda folder: efficientnet.weights(name),
        lambda folder, device: efficientnet.embedder(name, device),
    )


REGISTRY = {
    **{name: _efficientnet(name) for name in efficientnet.SIDES},
    "scout": Kind(
        "the scout was fitted on this run's train images: it ranks this run's generators and is no judge of realism",
        lambda folder: folder / classifiers.WEIGHTS,
        _scout,
    ),
    "inception": Kind("ImageNet weights, 299 px", lambda folder: folder / INCEPTION, _inception),
}


class Extractor:
    """An extractor of the registry with a cache of features on disk.

    kind: a key of REGISTRY. folder: holds its weights, where it needs a folder. cache: the run's folder of features;
    None keeps nothing. Calls that find all features in the cache load no network. Raises FileNotFoundError where the
    weights are missing.
    """

    def __init__(self, kind: str, device: torch.device, cache: Path | None = None, folder: Path | None = None):
        self.kind, self.folder, self.device = REGISTRY[kind], folder, device
        weights = self.kind.weights(folder)
        if not weights.exists():
            raise FileNotFoundError(f"the extractor {kind} needs its weights in {weights}")
        self.name = f"{kind}-{sha256(weights)[:12]}"  # in captions and caches
        self.note = self.kind.note  # what one must know to judge its distances
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
            self._embed = self.kind.load(self.folder, self.device)
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
