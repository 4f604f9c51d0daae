"""The images of a table in one file of raw pixels, so that training reads single images without holding all."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from p2d_lib import images
from p2d_lib.files import atomic

PART = 256  # images decoded at once


def store(paths: Sequence[Path], folder: Path) -> np.ndarray:
    """Images of one size as uint8 (n, h, w, 3), mapped from a file in `folder`: memory holds only what is read of it.

    The file is named by the images' bytes, so that it is made once, by whichever process needs it first. What is
    written to the array stays in this process. Raises ImageError for an unreadable image, ValueError when there is none
    or sizes differ.
    """
    if not paths:
        raise ValueError("there are no images to store")
    contents = hashlib.sha256()
    for path in paths:
        contents.update(hashlib.sha256(path.read_bytes()).digest())
    file = folder / f"{contents.hexdigest()[:24]}.npy"
    if not file.exists():
        first = images.read(paths[0])
        with atomic(file) as partial:
            pixels = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(paths), *first.shape))
            for start in range(0, len(paths), PART):
                # the first again, since sizes are compared within what is loaded together
                pixels[start : start + PART] = images.load([paths[0], *paths[start : start + PART]])[1:]
            pixels.flush()
    return np.load(file, mmap_mode="c")
