"""The arms of the comparison: which images each training step sees.

All arms of a seed take the same number of steps of the same batch size, from the same initial weights. Each batch has
two parts. The first holds real images with their natural frequencies: it is the same, place for place, in `real`,
`real+replay` and `mixed`. The second is filled by

- `real` with further real images,
- `mixed` with synthetic images, balanced over the classes,
- `real+replay` with real images of the very classes that `mixed` has in these places,

so that real+replay differs from mixed in nothing but the pixels: a gain of mixed over replay is due to the synthetic
images, one of both over real to the balancing. In `synthetic` the second part is the whole batch.
"""

import numpy as np

from p2d_lib.models.class_batches import epochs, images_of_classes
from p2d_lib.seeds import derive

ARMS = ("real", "real+replay", "synthetic", "mixed")


def batches(
    arm: str,
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    share: float,
    seed: int,
) -> np.ndarray:
    """The images of each step of an arm: indices (steps, batch_size) into the real images, then the synthetic ones.

    real, synthetic: their classes (n,), as indices into `vocabulary.DX`. share: of a batch, the second part (0..1).
    Over a whole training, the natural part of each arm sees all real images equally often, to within one; so does the
    balanced part with the images of one class. Raises ValueError for an unknown arm, without synthetic images, or when
    replay lacks a class that mixed has.
    """
    if arm not in ARMS:
        raise ValueError(f"no arm {arm!r}; there are {', '.join(ARMS)}")
    n_extra = batch_size if arm == "synthetic" else round(share * batch_size)
    order = epochs(len(real), 1, steps * batch_size, derive(seed, "real"))[0]
    first = order[: steps * (batch_size - n_extra)].reshape(steps, batch_size - n_extra)
    if arm == "real":
        further = order[steps * (batch_size - n_extra) :].reshape(steps, n_extra)
        return np.concatenate([first, further], axis=1)
    if not len(synthetic):
        raise ValueError(f"arm {arm!r} takes its classes from the synthetic set, and no synthetic image is accepted")
    classes = np.unique(synthetic)
    extra_classes = classes[epochs(len(classes), steps, n_extra, derive(seed, "classes"))]
    if arm == "real+replay":
        extra = images_of_classes(real, extra_classes, derive(seed, "replay"))
    else:
        extra = len(real) + images_of_classes(synthetic, extra_classes, derive(seed, "synthetic"))
    return np.concatenate([first, extra], axis=1)
