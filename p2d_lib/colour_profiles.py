"""Colours of a picture in sRGB, whatever colour space its file is in.

A picture in a wide-gamut space (Adobe RGB, Display P3, ProPhoto) looks pale where its embedded ICC profile is ignored:
numbers are then off by a Delta E of about 10.
"""

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

SAME = 2  # levels of 255: a profile that changes no colour by more is sRGB's, in one of its many versions
SRGB_WHITE_AND_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # x and y of each, as PNG's cHRM
SRGB_CODES = ((1,), (1, 6, 13, 14, 15), (0,))  # ITU-T H.273: primaries, transfer (all nearly sRGB's) and matrix
GRID = np.linspace(0, 255, 9).round().astype(np.uint8)


class ProfileError(Exception):
    """A colour profile that cannot be honoured."""


def space_without_profile(image: Image.Image, data: bytes) -> str:
    """What a PNG without a profile says of its colours where they are not sRGB's; "" where they are, or nothing is.

    data: the file. Its chunk cICP counts before cHRM (PNG specification, third edition, 4.3).
    """
    head = data.partition(b"IDAT")[0] if image.format == "PNG" else b""
    _, _, codes = head.partition(b"cICP")
    if codes:
        right = all(code in known for code, known in zip(codes, SRGB_CODES, strict=False))
        return "" if right else f"is in the colour space {codes[0]}-{codes[1]} of ITU-T H.273"
    stated = () if "srgb" in image.info else image.info.get("chromaticity", ())
    differ = any(abs(one - other) > 0.005 for one, other in zip(stated, SRGB_WHITE_AND_PRIMARIES, strict=False))
    return "has other primaries than sRGB" if differ else ""


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture as RGB in sRGB. Raises ProfileError for an embedded profile that is broken or of
    another kind of picture."""
    profile = image.info.get("icc_profile")
    rgb = image.convert("RGB")
    if not profile:
        return rgb
    space, transform = _transform(profile)
    if transform is None:
        return rgb
    if space == "GRAY":
        if image.mode not in ("1", "L", "LA"):
            raise ProfileError("is in colour and has a colour profile for grey pictures; save it in sRGB")
        return ImageCms.applyTransform(image.convert("L"), transform)
    return ImageCms.applyTransform(rgb, transform)


@lru_cache(maxsize=8)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The space of a profile (RGB or GRAY), and what takes it to sRGB; None where that changes nothing."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space not in ("RGB", "GRAY"):
            raise ProfileError(f"has a colour profile of the space {space}; convert it to sRGB")
        mode = "RGB" if space == "RGB" else "L"
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (OSError, ImageCms.PyCMSError) as error:
        raise ProfileError(f"has a broken colour profile ({error}); save it in sRGB") from None
    levels = [GRID] * 3 if mode == "RGB" else [GRID]
    colours = np.stack(np.meshgrid(*levels, indexing="ij"), -1).reshape(1, -1, len(levels))
    before = Image.fromarray(colours if mode == "RGB" else colours[..., 0])
    after = ImageCms.applyTransform(before, transform)
    change = np.abs(np.asarray(after, int) - np.asarray(before.convert("RGB"), int)).max()
    return space, None if change <= SAME else transform
