"""What the registry of extractors knows of each of its networks, and what a loaded network does."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

ANTIALIASED = "bicubic, antialiased"


@dataclass(frozen=True)
class Loaded:
    """A network in memory.

    embed: uint8 (b, h, w, 3) -> float32 (b, d). classify: float32 (n, d) -> probabilities (n, k), by the network's own
    last layer; None where it has none.
    """

    embed: Callable[[np.ndarray], np.ndarray]
    classify: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True)
class Kind:
    """An extractor before its network is loaded: what tables, captions and caches say of it."""

    title: str  # its name in tables
    note: str  # what one must know to judge its distances
    digest: str  # names its weights: hex digits of their SHA-256, or of the hub's commit
    side: int | None  # px to which the width and the height of an image are resized; None: they are not
    resize: str  # how they are resized
    dimension: int  # of its features
    load: Callable[[torch.device], Loaded]
    independent: bool = True  # False where it was fitted on images of the run
    batch_on_cpu: int = 32  # images embedded at once; fewer where a small batch is faster (extractor_speed.py)


def resized(images: np.ndarray, side: int) -> torch.Tensor:
    """uint8 (n, h, w, 3) -> float32 (n, 3, side, side) in 0..255, bicubic and antialiased, values not rounded."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    if pixels.shape[-2:] != (side, side):
        pixels = F.interpolate(pixels, (side, side), mode="bicubic", antialias=True).clamp(0, 255)
    return pixels


def softmax(weight: torch.Tensor, bias: torch.Tensor | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """Probabilities (n, k) of features (n, d) under a linear layer with weight (k, d) and bias (k,)."""

    @torch.inference_mode()
    def classify(features: np.ndarray) -> np.ndarray:
        logits = F.linear(torch.as_tensor(features, dtype=torch.float32, device=weight.device), weight, bias)
        return logits.softmax(1).cpu().numpy()

    return classify
