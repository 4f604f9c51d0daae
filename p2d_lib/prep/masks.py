"""Lesion masks that would be measured as something else than a lesion: inverted ones, pictures, faint and foreign ones.

The limits are from the 10,015 masks of HAM10000: in none does the lesion fill the border and leave a hole, 10 have
three or four corners inside, and 46 cover more than 90 % of their image, two of them all of it.
"""

import numpy as np
from PIL import Image

from p2d_lib.images import ImageError

INSIDE = 128  # grey level from which on a pixel counts as lesion
WHOLE = 0.9  # share of the image: a lesion that covers more leaves next to no skin to compare with
BORDER, HOLE = 0.98, 0.01  # a mask that fills so much of the border, and leaves such a hole, is inverted
GREY = 0.2  # share of pixels that are neither lesion nor skin (levels 16 to 239): a picture, not a mask
MANY_CORNERS, FEW_MASKS = 3, 10  # from so many masks on, most with so many corners inside means: all are inverted


def refuse_unfit(mask: Image.Image, mask_name: object, image: Image.Image, name: object) -> None:
    """Raises images.ImageError for a mask, mode L, that cannot be the lesion of its image.

    Unfit are another shape; no level above 127 where anything is marked (1 instead of 255); grey levels as pictures
    have them; and a mask that is bright along the whole border and dark within: it marks the skin.
    """
    levels = np.asarray(mask)
    if 0 < (brightest := levels.max()) < INSIDE:
        raise ImageError(
            f"{mask_name}: its brightest level is {brightest}; a mask is 255 inside the lesion, 0 outside: save it so"
        )
    if abs(mask.width * image.height - mask.height * image.width) > 0.02 * mask.width * image.height:
        raise ImageError(
            f"{mask_name}: {mask.width} x {mask.height} px do not fit {name}, {image.width} x {image.height} px; "
            "replace the mask by the one of this image, or remove it"
        )
    if (grey := np.mean((levels >= 16) & (levels < 240))) > GREY:
        raise ImageError(
            f"{mask_name}: {grey:.0%} of its pixels are grey, as in a picture; a mask is 255 inside the lesion, 0 "
            "outside: replace or remove it"
        )
    inside = levels >= INSIDE
    border = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    if border.mean() >= BORDER and inside.mean() < 1 - HOLE:
        raise ImageError(
            f"{mask_name}: is bright along its whole border and dark within, so it marks the skin; a mask is 255 "
            "inside the lesion, 0 outside: invert it"
        )


def corners_inside(mask: Image.Image) -> int:
    """How many of the four corners of a mask, mode L, are marked as lesion."""
    inside = np.asarray(mask)[[0, 0, -1, -1], [0, -1, 0, -1]] >= INSIDE
    return int(inside.sum())


def refuse_inverted(corners: np.ndarray) -> None:
    """Raises images.ImageError for a set of masks that mark the skin, though each alone might be a large lesion.

    corners: `corners_inside` of each mask, float (n,), NaN where there is none.
    """
    known = corners[~np.isnan(corners)]
    many = int((known >= MANY_CORNERS).sum())
    if len(known) >= FEW_MASKS and many > len(known) / 2:
        raise ImageError(
            f"{many} of {len(known)} masks mark three or four corners of their images, so they mark the skin; a mask "
            "is 255 inside the lesion, 0 outside: invert them"
        )


def sentence(area: np.ndarray) -> str:
    """What is odd about the areas of a set's masks (shares of the images, NaN where unknown); "" where nothing is."""
    whole = int((area > WHOLE).sum())
    if not whole:
        return ""
    return (
        f"{whole} {'mask covers' if whole == 1 else 'masks cover'} more than {WHOLE:.0%} of the image: look whether "
        "they mark the lesion (their skin is not measured, or from few pixels)."
    )
