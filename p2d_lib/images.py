"""Pixels on disk and in memory: RGB, uint8, height x width x 3."""

import base64
import zlib
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from p2d_lib.colour_profiles import ProfileError, space_without_profile, to_srgb

MAX_PIXELS = 64_000_000
TURNS = range(2, 9)  # EXIF orientations other than upright; 0, 9 and the like are no turn, and some cameras write them
GAMMA = 1 / 2.2  # of sRGB, as PNG's gAMA chunk has it


class ImageError(Exception):
    """A file that is not a readable image; the message names it."""


def read(path: Path, size: int | None = None) -> np.ndarray:
    """One image as uint8 (h, w, 3); with `size`, its central square resized to (size, size), Lanczos.

    Raises ImageError for a missing, empty, truncated or foreign file.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such image; put the file back, or run again what makes it") from None
    except OSError as error:  # a link to itself, a folder, a disk that fails
        raise ImageError(f"{path}: cannot be read ({error.strerror}); replace the file") from None
    image = decode(data, path)
    return np.asarray(square(image, size) if size else image)


def decode(data: bytes, name: object, at_least: int = 0) -> Image.Image:
    """The RGB image that a file's bytes hold.

    Colours are those of sRGB: an embedded profile of another space is honoured. at_least: px that the shorter side
    needs; a larger JPEG may then come at 1/2, 1/4 or 1/8 of its size, which is decoded in a fraction of the time.
    Raises ImageError, with the file's name, for a file that is no image or is truncated, and for one that would not be
    shown as it was taken: see `_unfit`.
    """
    if not data:
        raise ImageError(f"{name}: is empty (0 bytes); replace the file")
    try:
        with Image.open(BytesIO(data)) as image:
            if problem := _unfit(image, data):
                raise ImageError(f"{name}: {problem}")
            if at_least:
                image.draft("RGB", (at_least, at_least))
            return to_srgb(image)
    except ImageError:
        raise
    except ProfileError as error:
        raise ImageError(f"{name}: {error}") from None
    except Exception as error:  # whatever a decoder meets in broken bytes: OSError, SyntaxError, NotImplementedError, …
        problem = "no known format" if isinstance(error, UnidentifiedImageError) else error
        raise ImageError(f"{name}: not a readable image ({problem}); replace the file") from None


def _unfit(image: Image.Image, data: bytes) -> str:
    """Why a picture that can be opened would not be shown as it was taken; "" where it would."""
    if image.width * image.height > MAX_PIXELS:
        return f"has {image.width} x {image.height} px, more than {MAX_PIXELS / 1e6:.0f} million; reduce it"
    if image.mode == "CMYK":
        return "is in CMYK, which is for print; convert it to RGB with its colour profile"
    raw = image.tile[0].args if image.tile else ""  # how its file holds a pixel: "RGB;16B"
    if image.mode.startswith(("I", "F")) or "16" in str(raw if isinstance(raw, str) else raw[:1]):
        return "has more than 8 bits a channel; convert it to 8 bits"
    exif = image.getexif()
    if (turn := exif.get(ExifTags.Base.Orientation)) in TURNS:
        return f"asks in its EXIF data to be turned (orientation {turn}), which its mask is not; save it upright"
    if "icc_profile" not in image.info:
        if _interoperability(exif).get(1) == "R03":
            return "is in Adobe RGB by its EXIF data and has no colour profile; convert it to sRGB"
        if "srgb" not in image.info and abs(image.info.get("gamma", GAMMA) - GAMMA) > 0.05:
            return f"has a gamma of {image.info['gamma']:.2f} ({GAMMA:.2f} is usual); convert it to sRGB"
        if space := space_without_profile(image, data):
            return f"{space}; convert it to sRGB"
    if image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255:
        return "has transparent pixels, whose colour nobody knows; save it without transparency"
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # an MPO's second picture is a preview
        return f"holds {image.n_frames} pictures; save the one that is meant alone"
    return ""


def _interoperability(exif: Image.Exif) -> dict:
    """The part of the EXIF data that names its colour space; {} where there is none."""
    try:
        return exif.get_ifd(ExifTags.IFD.Interop)
    except KeyError:  # by which Pillow 12 says so
        return {}


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
            raise ValueError(
                f"{path} is {sizes[0]}, {paths[0]} is {sizes[1]}: images of one table have one size; run the notebook "
                "that makes them again"
            )
    return np.stack(images)


def save(path: Path, image: np.ndarray | Image.Image, text: Mapping[str, str] | None = None) -> None:
    """Writes uint8 (h, w, 3), or an RGB image, as the PNG that `encode` makes of it."""
    path.write_bytes(encode(image, text))


def encode(image: np.ndarray | Image.Image, text: Mapping[str, str] | None = None) -> bytes:
    """A PNG (ISO/IEC 15948) of uint8 (h, w, 3), or of an RGB image, as bytes.

    text: what the file says of itself, as one iTXt chunk (UTF-8) a keyword of 1 to 79 letters; Pillow reads it back as
    `Image.open(path).text`. Raises ValueError for another keyword.
    """
    chunks = PngInfo()
    for keyword, value in (text or {}).items():
        if not (0 < len(keyword) < 80 and keyword.isascii() and keyword.isprintable()):
            raise ValueError(f"{keyword!r} is no keyword of a PNG's text: give 1 to 79 printable ASCII letters")
        chunks.add_itxt(keyword, value)
    stream = BytesIO()
    # nearly as small as the default, which searches for repeats, in a fifth of its time
    Image.fromarray(np.asarray(image)).save(stream, "PNG", pnginfo=chunks, compress_type=zlib.Z_HUFFMAN_ONLY)
    return stream.getvalue()


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """The bytes of a file as an address that holds them, so that no file needs to be served (RFC 2397)."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
