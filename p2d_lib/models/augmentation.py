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
    rng = generator(seed)
    flips = (torch.rand(3, len(pixels), generator=rng) < 0.5) & ("flip" in transforms)
    gains = (1 + JITTER * (2 * torch.rand(2, len(pixels), 3, 1, 1, generator=rng) - 1)).to(pixels.device)
    changed = pixels
    if {"turn", "shift", "zoom"} & set(transforms):
        changed = _moved(pixels, derive(seed, "affine"), transforms, flips)
    elif "flip" in transforms:
        changed = _flipped(pixels, flips)
    if "colour" in transforms:  # in place, but for what the caller gave: a new array costs more than the arithmetic
        changed = pixels * gains[0] if changed is pixels else changed.mul_(gains[0])
        changed = changed.mul_(gains[1, :, :1]).clamp_(0, 1)
    return changed


def _flipped(pixels: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """Each image mirrored left to right, upside down and along its diagonal where flips, bool (3, b), say so."""
    flipped = torch.empty_like(pixels)
    for image, place, (across, down, diagonal) in zip(pixels, flipped, flips.T.tolist(), strict=True):
        turned = image.flip([-1] * across + [-2] * down)
        place.copy_(turned.mT if diagonal else turned)
    return flipped


def _moved(pixels: torch.Tensor, seed: int, transforms: Sequence[str], flips: torch.Tensor) -> torch.Tensor:
    """Turned, shifted and zoomed, then flipped as in `_flipped`: one resampling does all of it.

    Its grid says where each pixel of the result comes from, in halves of a side: the sum of a part for the column and
    one for the row. A mirrored image reads its columns or its rows in reverse; the diagonal swaps the two.
    """
    n, rng = len(pixels), generator(seed)
    angle, zoom, shift = (torch.rand(n, generator=rng), torch.rand(n, generator=rng), torch.rand(n, 2, generator=rng))
    angle = 2 * torch.pi * angle * ("turn" in transforms)
    zoom = ZOOM ** ((2 * zoom - 1) * ("zoom" in transforms))
    shift = 2 * SHIFT * (2 * shift - 1) * ("shift" in transforms)
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    axis = (2 * torch.arange(pixels.shape[-1]) + 1) / pixels.shape[-1] - 1
    column, row = (torch.stack(pair, 1)[:, None] * axis[:, None] for pair in ((cos, sin), (-sin, cos)))
    row = row + shift[:, None]
    across, down, diagonal = flips[:, :, None, None]
    column, row = torch.where(across, column.flip(1), column), torch.where(down, row.flip(1), row)
    column, row = torch.where(diagonal, row, column), torch.where(diagonal, column, row)
    grid = column.to(pixels.device)[:, None] + row.to(pixels.device)[:, :, None]  # a quarter of F.affine_grid's time
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False).clamp_(0, 1)
