"""Pictures as addresses that hold them, so that the page serves no file and shows no path."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from p2d_lib import images

SHOWN = 320  # px, the side of a picture on the page; a file to save keeps its own
LARGEST_AS_IT_IS = 300_000  # bytes


def picture(png: bytes | Path, side: int = SHOWN) -> str:
    """A PNG as an address; where it is larger than `side` px it is reduced to that."""
    content = png.read_bytes() if isinstance(png, Path) else png
    with Image.open(BytesIO(content), formats=["PNG"]) as image:
        if max(image.size) <= side and len(content) <= LARGEST_AS_IT_IS:
            return images.data_uri(content)
        reduced = image.convert("RGB")
        reduced.thumbnail((side, side))
    stream = BytesIO()
    reduced.save(stream, "JPEG", quality=90)
    return images.data_uri(stream.getvalue(), "image/jpeg")


def of_pixels(pixels: np.ndarray) -> str:
    """An image, uint8 (h, w, 3), as an address."""
    return picture(images.encode(pixels))
