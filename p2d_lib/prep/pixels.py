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
from p2d_lib.prep.measure import measure


class DataError(Exception):
    """A raw set that cannot be used as it is; the message says where, what and what to do."""


@dataclass(frozen=True)
class File:
    """A file on disk, or a member of a zip."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    def image(self) -> tuple[Image.Image, bytes]:
        """The RGB image and the bytes it was read from. Raises images.ImageError."""
        try:
            data = open_zip(self.path).read(self.member) if self.member else self.path.read_bytes()
        except (OSError, BadZipFile) as error:
            raise images.ImageError(f"{self}: cannot be read ({error}); replace the file") from None
        return images.decode(data, self), data


@cache
def open_zip(path: Path) -> ZipFile:
    """A zip, opened once per process. Raises DataError."""
    try:
        return ZipFile(path)
    except (OSError, BadZipFile) as error:
        raise DataError(f"{path}: not a readable zip ({error}); download it again") from None


def prepare_one(image_size: int, folder: Path, job: tuple[str, File, File | None]) -> dict:
    """Writes folder/<image_id>.png, the image's central square of image_size px, and says what the pixels say.

    job: image_id, its picture, its lesion mask. Returns sha256 (of the picture's file), width and height (px),
    entropy (bits), and what `measure.measure` does. Raises images.ImageError.
    """
    name, file, mask_file = job
    image, data = file.image()
    images.save(folder / f"{name}.png", np.asarray(images.square(image, image_size)))
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": image.width,
        "height": image.height,
        "entropy": image.convert("L").entropy(),  # Shannon's, of the 256-bin histogram
        **measure(image, mask_file.image()[0] if mask_file else None),
    }
