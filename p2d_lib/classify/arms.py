"""The arms of the comparison: which images each training step sees.

All arms of a seed take the same number of steps of the same batch size, from the same initial weights. Of each batch of
`mixed`, a share is synthetic, balanced over the classes; the rest are the draws of `real`, place for place.
`real+replay` has real images of the same classes in the same places, so that it differs from `mixed` in nothing but the
pixels: a gain of mixed over replay is due to the synthetic images, one of both over `real` to the balancing.
"""

import numpy as np

from p2d_lib.models.classifiers import epochs, images_of_classes
from p2d_lib.seeds import derive

ARMS = ("real", "real+replay", "synthetic", "mixed")


def draws(
    arm: str,
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    share: float,
    seed: int,
) -> np.ndarray:
    """Which images an arm's steps see: indices (steps, batch_size) into the real images followed by the synthetic ones.

    real, synthetic: their classes, as indices into `vocabulary.DX`. share: of a batch, drawn class by class (0..1).
    Each real image is drawn once before any twice, and so is each image within a class of the balanced part. Raises
    ValueError for an unknown arm, without synthetic images, or when replay lacks a class that mixed has.
    """
    if arm not in ARMS:
        raise ValueError(f"no arm {arm!r}; there are {', '.join(ARMS)}")
    natural = epochs(len(real), steps, batch_size, derive(seed, "real"))
    if arm == "real":
        return natural
    if not len(synthetic):
        raise ValueError(
            f"arm {arm!r} draws its classes as the synthetic set has them, and no synthetic image is accepted"
        )
    n_extra = batch_size if arm == "synthetic" else round(share * batch_size)
    classes = np.unique(synthetic)
    wanted = classes[epochs(len(classes), steps, n_extra, derive(seed, "classes"))]
    if arm == "real+replay":
        extra = images_of_classes(real, wanted, derive(seed, "replay"))
    else:
        extra = len(real) + images_of_classes(synthetic, wanted, derive(seed, "synthetic"))
    return np.concatenate([natural[:, : batch_size - n_extra], extra], axis=1)
