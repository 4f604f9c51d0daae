"""One image of a raw set: from its file to its square and its measurements.

Light to import (no pandas, no scikit-learn), for each process that shares this work imports it.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
from PIL import Image

from p2d_lib import images
from p2d_lib.prep.measure import measure, quality


class DataError(Exception):
    """A raw set that cannot be used as it is; the message says where, what and what to do."""


@dataclass(frozen=True)
class File:
    """A file on disk, or a member of a zip."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    def data(self) -> bytes:
        """Raises images.ImageError."""
        try:
            return open_zip(self.path).read(self.member) if self.member else self.path.read_bytes()
        except (OSError, BadZipFile) as error:
            raise images.ImageError(f"{self}: cannot be read ({error}); replace the file") from None

    def image(self, at_least: int = 0) -> Image.Image:
        """The RGB image; see `images.decode`. Raises images.ImageError."""
        return images.decode(self.data(), self, at_least)


@cache
def open_zip(path: Path) -> ZipFile:
    """A zip, opened once per process. Raises DataError."""
    try:
        return ZipFile(path)
    except (OSError, BadZipFile) as error:
        raise DataError(f"{path}: not a readable zip ({error}); download it again") from None


def write_square(size: int, folder: Path, job: tuple[str, File, File | None]) -> dict:
    """Writes folder/<image_id>.png, the picture's central square of `size` px. Raises images.ImageError.

    job: image_id, its picture, its lesion mask. A JPEG is decoded at the smallest of 1, 1/2, 1/4, 1/8 of its size that
    still holds the square.
    """
    name, file, _ = job
    images.save(folder / f"{name}.png", np.asarray(images.square(file.image(at_least=size), size)))
    return {}


def measure_one(job: tuple[str, File, File | None]) -> dict:
    """sha256 (of the picture's file), width and height (px), and what `measure.quality` and `measure.measure` say.

    job: image_id, its picture, its lesion mask. Raises images.ImageError, also for a mask of another shape.
    """
    _, file, mask_file = job
    data = file.data()
    image = images.decode(data, file)
    mask = mask_file.image() if mask_file else None
    if mask and abs(mask.width * image.height - mask.height * image.width) > 0.02 * mask.width * image.height:
        raise images.ImageError(
            f"{mask_file}: {mask.width} x {mask.height} px do not fit {file}, {image.width} x {image.height} px; "
            "replace the mask by the one of this image, or remove it"
        )
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": image.width,
        "height": image.height,
        **quality(image),
        **measure(image, mask),
    }
