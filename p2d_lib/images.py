"""Pixels on disk and in memory: RGB, uint8, height x width x 3."""

import struct
import zlib
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 64_000_000


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


def decode(data: bytes, name: object, at_least: int = 0) -> Image.Image:
    """The RGB image that a file's bytes hold.

    at_least: px that the shorter side needs; a larger JPEG may then come at 1/2, 1/4 or 1/8 of its size, which is
    decoded in a fraction of the time. Raises ImageError, with the file's name, for what is no image, is cut short, or
    would not be shown as it was taken: CMYK, more than 8 bits a channel, an EXIF note to rotate it, more than
    MAX_PIXELS.
    """
    if not data:
        raise ImageError(f"{name}: is empty (0 bytes); replace the file")
    try:
        with Image.open(BytesIO(data)) as image:
            if problem := _unfit(image):
                raise ImageError(f"{name}: {problem}")
            if at_least:
                image.draft("RGB", (at_least, at_least))
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        problem = "no known format" if isinstance(error, UnidentifiedImageError) else error
        raise ImageError(f"{name}: not a readable image ({problem}); replace the file") from None


def _unfit(image: Image.Image) -> str:
    """What is wrong with a picture that could be opened and would not be shown as it was taken; "" for nothing."""
    if image.width * image.height > MAX_PIXELS:
        return f"has {image.width} x {image.height} px, more than {MAX_PIXELS / 1e6:.0f} million; reduce it"
    if image.mode == "CMYK":
        return "is in CMYK, which is for print; convert it to RGB with its colour profile"
    raw = image.tile[0].args if image.tile else ""  # how its file holds a pixel: "RGB;16B"
    if image.mode.startswith(("I", "F")) or "16" in str(raw if isinstance(raw, str) else raw[:1]):
        return "has more than 8 bits a channel; convert it to 8 bits"
    if (turn := image.getexif().get(0x0112, 1)) != 1:
        return f"asks in its EXIF data to be turned (orientation {turn}), which its mask is not; save it upright"
    return ""


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


def save(path: Path, image: np.ndarray | Image.Image, text: Mapping[str, str] | None = None) -> None:
    """Writes uint8 (h, w, 3), or an RGB image, as the PNG that `encode` makes of it."""
    path.write_bytes(encode(image, text))


def encode(image: np.ndarray | Image.Image, text: Mapping[str, str] | None = None) -> bytes:
    """A PNG (ISO/IEC 15948) of uint8 (h, w, 3), or of an RGB image, as bytes.

    Each line is stored less the one above it and Huffman-coded: nearly as small as Pillow's PNG in half the time.
    text: what the file says of itself, as one iTXt chunk (UTF-8) a keyword of 1 to 79 letters; Pillow reads it back as
    `Image.open(path).text`. Raises ValueError for a keyword that is none.
    """
    image = np.asarray(image)
    h, w, _ = image.shape
    rows = image.reshape(h, 3 * w)
    lines = np.full((h, 1 + 3 * w), 2, np.uint8)  # each begins with its filter, 2: up
    lines[:, 1:] = rows
    lines[1:, 1:] -= rows[:-1]
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_HUFFMAN_ONLY)
    header = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)  # 8 bits, RGB
    said = [(b"iTXt", _said(*item)) for item in (text or {}).items()]
    chunks = [(b"IHDR", header), *said, (b"IDAT", deflate.compress(lines) + deflate.flush()), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"".join([b"\x89PNG\r\n\x1a\n", *parts])


def _said(keyword: str, text: str) -> bytes:
    if not (0 < len(keyword) < 80 and keyword.isascii() and keyword.isprintable()):
        raise ValueError(f"{keyword!r} is no keyword of a PNG's text: give 1 to 79 printable ASCII letters")
    return keyword.encode() + b"\0\0\0\0\0" + text.encode()  # not compressed, of no language, not translated
