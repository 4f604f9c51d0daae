"""Features that sets of images are compared in: the scout's embedding, or Inception's as clean-fid takes it."""

from pathlib import Path

import numpy as np
import torch
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import make_resizer
from tqdm import tqdm

from p2d_lib.files import atomic, sha256
from p2d_lib.models import classifiers

INCEPTION = "inception-2015-12-05.pt"


def identity(extractor: Path) -> str:
    """What captions and caches call an extractor: "scout-<12 digits of its sha256>", or Inception's file stem."""
    if (extractor / INCEPTION).exists():
        return Path(INCEPTION).stem
    if (extractor / classifiers.WEIGHTS).exists():
        return f"scout-{sha256(extractor / classifiers.WEIGHTS)[:12]}"
    raise FileNotFoundError(
        f"{extractor} holds no feature extractor: neither a scout ({classifiers.WEIGHTS}) nor clean-fid's {INCEPTION}"
    )


def extract(
    extractor: Path,
    images: np.ndarray,
    device: torch.device,
    hashes: list[str] | None = None,
    cache: Path | None = None,
) -> np.ndarray:
    """Features of uint8 (n, s, s, 3): float32 (n, d); d = 128 for the scout, 2048 for Inception.

    extractor: a classifier's folder (its penultimate layer is taken), or a folder that holds INCEPTION; images are
    resized to 299 px as in Parmar, Zhang, Zhu, CVPR 2022 (clean-fid). hashes, cache: the images' sha256 and the folder
    of the run's features; features known there are not computed again. Raises FileNotFoundError without an extractor.
    """
    name = identity(extractor)
    if cache is None or hashes is None:
        return _compute(extractor, images, device)
    path = cache / f"{name}-{images.shape[1]}.npz"  # the hash is of the published image, not of its resized square
    known: dict[str, np.ndarray] = {}
    if path.exists():
        with np.load(path) as stored:
            known = dict(zip(stored["sha256"].tolist(), stored["features"], strict=True))
    first = {digest: row for row, digest in reversed(list(enumerate(hashes))) if digest not in known}
    if first:
        known |= zip(first, _compute(extractor, images[list(first.values())], device), strict=True)
        with atomic(path) as partial, partial.open("wb") as stream:
            np.savez(stream, sha256=np.array(list(known)), features=np.stack(list(known.values())))
    return np.stack([known[digest] for digest in hashes])


def _compute(extractor: Path, images: np.ndarray, device: torch.device) -> np.ndarray:
    if not (extractor / INCEPTION).exists():
        return classifiers.predict(classifiers.load(extractor, device), images, device)["embedding"]
    model, resize = (
        InceptionV3W(str(extractor), download=False).to(device).eval(),
        make_resizer("PIL", False, "bicubic", (299, 299)),
    )
    parts = []
    with torch.inference_mode():
        for start in tqdm(range(0, len(images), 32), desc="Inception", leave=False, mininterval=1):
            pixels = np.stack([resize(image) for image in images[start : start + 32]])
            parts.append(model(torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)).float().cpu().numpy())
    return np.concatenate(parts)
