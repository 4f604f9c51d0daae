"""Augmentation of training images on tensors: addressed by a seed, the same on every device."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from p2d_lib.device import generator
from p2d_lib.seeds import derive

TRANSFORMS = ("flip", "colour", "turn", "shift", "zoom")
BASIC = ("flip", "colour")
JITTER = 0.1  # colours and brightness are scaled by 1 - JITTER to 1 + JITTER: cameras differ, but colour is diagnostic
SHIFT = 0.1  # of a side, at most
ZOOM = 1.25  # at most; at least 1 / ZOOM


def augment(pixels: torch.Tensor, seed: int, transforms: Sequence[str] = BASIC) -> torch.Tensor:
    """Each image changed at random: (b, 3, s, s) in 0..1, of the same shape and range.

    transforms, of TRANSFORMS: "flip", one of the square's eight orientations; "colour", gains of each channel and of
    brightness; "turn" by any angle, "shift" by up to SHIFT and "zoom" by 1 / ZOOM to ZOOM, all three in one bilinear
    resampling that reflects what lies outside. Raises ValueError for another name.
    """
    if unknown := set(transforms) - set(TRANSFORMS):
        raise ValueError(f"no transform {min(unknown)!r}; there are {', '.join(TRANSFORMS)}")
    if {"turn", "shift", "zoom"} & set(transforms):
        pixels = _moved(pixels, derive(seed, "affine"), transforms)
    rng = generator(seed)
    flips = torch.rand(3, len(pixels), 1, 1, 1, generator=rng) < 0.5
    gains = 1 + JITTER * (2 * torch.rand(2, len(pixels), 3, 1, 1, generator=rng) - 1)
    flips, gains = flips.to(pixels.device), gains.to(pixels.device)
    if "flip" in transforms:
        for flip, turned in zip(flips, (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT), strict=True):
            pixels = torch.where(flip, turned(pixels), pixels)
    return (pixels * gains[0] * gains[1, :, :1]).clamp(0, 1) if "colour" in transforms else pixels


def _moved(pixels: torch.Tensor, seed: int, transforms: Sequence[str]) -> torch.Tensor:
    """Turned, shifted and zoomed: a matrix says where each pixel of the result comes from, in halves of a side."""
    n, rng = len(pixels), generator(seed)
    angle, zoom, shift = (torch.rand(n, generator=rng), torch.rand(n, generator=rng), torch.rand(n, 2, generator=rng))
    angle = 2 * torch.pi * angle * ("turn" in transforms)
    zoom = ZOOM ** ((2 * zoom - 1) * ("zoom" in transforms))
    shift = 2 * SHIFT * (2 * shift - 1) * ("shift" in transforms)
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    matrix = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(n, 2, 3).to(pixels.device)
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False).clamp(0, 1)
