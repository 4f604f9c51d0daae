"""Colours of a picture in sRGB, whatever colour space its file is in.

A picture in a wide-gamut space (Adobe RGB, Display P3, ProPhoto) looks pale where its embedded ICC profile is ignored:
numbers are then off by a Delta E of about 10.
"""

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

SAME = 2  # levels of 255: a profile that changes no colour by more is sRGB's, in one of its many versions
GRID = np.linspace(0, 255, 9).round().astype(np.uint8)


class ProfileError(Exception):
    """A colour profile that cannot be honoured."""


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
