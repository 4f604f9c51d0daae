"""Images for the pixel-space baselines: reduced once, kept on disk as uint8, scaled when a batch is read."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from p2d_lib.files import atomic
from p2d_lib.finetune.latents import digest

PART = 64  # images reduced at once


class PixelRows:
    """Rows of images with their mirror images, in the place of latents in `Encoded`.

    images: uint8 (n, h, w, 3), in memory or mapped. side: px to which a batch is reduced when it is read; default the
    side of the images. rows[k], int64 (b,) -> float16 (b, 2, 3, side, side) in -1..1: each image and its mirror image.
    """

    def __init__(self, images: np.ndarray, side: int | None = None):
        self.images, self.side = images, side or images.shape[1]
        self.shape = torch.Size([len(images), 2, 3, self.side, self.side])

    @property
    def key(self) -> str:
        return digest(self.images, str(self.side))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        pixels = torch.from_numpy(np.asarray(self.images[rows.numpy()])).permute(0, 3, 1, 2)
        pixels = (pixels.float() / 127.5 - 1).half()
        return reduced(torch.stack([pixels, pixels.flip(-1)], 1), self.side)


def reduced(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Pixels (..., h, w) -> (..., side, side), by antialiased bilinear interpolation; as they are where h is side."""
    if pixels.shape[-1] == side:
        return pixels
    flat = F.interpolate(pixels.flatten(0, -4).float(), (side, side), mode="bilinear", antialias=True)
    return flat.reshape(*pixels.shape[:-2], side, side).to(pixels.dtype)


def reduced_on_disk(images: np.ndarray, side: int, folder: Path) -> np.ndarray:
    """Images, uint8 (n, h, w, 3), as uint8 (n, side, side, 3), mapped from a file that `folder` holds afterwards.

    The file is named by its content and made once; images of that side are returned as they are.
    """
    if images.shape[1] == side:
        return images
    path = folder / f"{digest(images, str(side))[:24]}.npy"
    if not path.exists():
        with atomic(path) as partial:
            stored = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(images), side, side, 3))
            for start in range(0, len(images), PART):
                part = torch.from_numpy(np.asarray(images[start : start + PART])).permute(0, 3, 1, 2)
                small = reduced(part.float(), side).round().clamp(0, 255).to(torch.uint8)
                stored[start : start + PART] = small.permute(0, 2, 3, 1).numpy()
            stored.flush()
    return np.load(path, mmap_mode="c")
