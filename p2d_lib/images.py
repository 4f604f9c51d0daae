"""Pixels on disk and in memory: RGB, uint8, height x width x 3."""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError


class ImageError(Exception):
    """A file that is not a readable image; the message names it."""


def read(path: Path, size: int | None = None) -> np.ndarray:
    """One image as uint8 (h, w, 3); with `size`, its central square resized to (size, size), Lanczos.

    Raises ImageError for a missing, empty, truncated or foreign file.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such image") from None
    image = decode(data, path)
    return np.asarray(square(image, size) if size else image)


def decode(data: bytes, name: object) -> Image.Image:
    """The RGB image that a file's bytes hold. Raises ImageError, with the file's name, when they hold none."""
    try:
        with Image.open(BytesIO(data)) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        problem = "no known format" if isinstance(error, UnidentifiedImageError) else error
        raise ImageError(f"{name}: not a readable image ({problem}); replace the file") from None


def square(image: Image.Image, size: int, resample=Image.Resampling.LANCZOS) -> Image.Image:
    """The central square of an image, resized to (size, size) px."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((size, size), resample, box=(left, top, left + side, top + side))


def load(paths: Iterable[Path]) -> np.ndarray:
    """Images of one size as uint8 (n, h, w, 3). Raises ImageError for one unreadable, ValueError when sizes differ."""
    paths = list(paths)
    images = [read(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            sizes = [f"{i.shape[1]} x {i.shape[0]} px" for i in (image, images[0])]
            raise ValueError(f"{path} is {sizes[0]}, {paths[0]} is {sizes[1]}: images of one table have one size")
    return np.stack(images)


def save(path: Path, image: np.ndarray) -> None:
    """Writes uint8 (h, w, 3) as PNG."""
    Image.fromarray(image).save(path, format="PNG", compress_level=1)
