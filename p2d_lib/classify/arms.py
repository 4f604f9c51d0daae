"""The arms of the comparison: which images each training step sees.

All arms of a seed take the same number of steps of the same batch size, from the same initial weights. Each batch has
two parts. The first holds real images with their natural frequencies: it is the same, place for place, in `real`,
`real+replay` and `mixed` of one ratio. The second is filled by

- `real` and `real+classical` with further real images (they differ in augmentation and class weights alone),
- `mixed` with synthetic images, balanced over the classes,
- `real+replay` with real images of the very classes that `mixed` has in these places,

so that real+replay differs from mixed in nothing but the pixels: a gain of mixed over replay is due to the synthetic
images, one of replay over real to the balancing, and one of mixed over real to the sum of both. The second part of
`real+replay:skin-tones` has the same classes, and of each class every described skin tone equally often, as
`mixed:skin-tones` asks for them in prompts. So these two differ in the pixels, and replay by tone from plain replay in
the balancing of tones. `pretrain` shows the very images that mixed shows, each as often, but all synthetic ones first
and then all real ones: it differs from mixed in nothing but the order. `curriculum` starts as mixed and chooses further
synthetic images while it is trained: see `curriculum`. In `synthetic` the second part is the whole batch. `published`
is the protocol of Shavlokhova et al., Front Med 2023: real images of all splits and synthetic ones are pooled and
divided at random, 80 to 20, whatever their lesions; see `published_split`.
"""

import numpy as np

from p2d_lib.models.class_batches import epochs, images_of_classes
from p2d_lib.parameters.classify import REPLAY, SKIN_TONES, arm_parts, second_part
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

PUBLISHED_TEST = 0.2  # share of the pooled images that are tested on


def batches(
    arm: str,
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    share: float,
    seed: int,
    tones: np.ndarray | None = None,
) -> np.ndarray:
    """The images of each step of an arm: indices (steps, batch_size) into the real images, then the synthetic ones.

    real, synthetic: their classes (n,), as indices into `vocabulary.DX`. share: of a batch, the second part (0..1),
    where the arm's name has no ratio. Over a whole training, the natural part of each arm sees all real images equally
    often, to within one; so does the balanced part with the images of one class. For `published` the images are the
    pooled ones, whatever they are. tones: for `real+replay:skin-tones` the skin tones of the real images, levels (n,),
    NaN where none is described: such an image is not replayed. Raises ValueError for an unknown arm, without synthetic
    images, where a batch is too small for the ratio, or when replay lacks a class that mixed has or all its tones.
    """
    kind, selection, _ = arm_parts(arm)
    if kind == "published":
        return epochs(len(real) + len(synthetic), steps, batch_size, derive(seed, "pooled"))
    n_extra = second_part(arm, share, batch_size)
    order = epochs(len(real), 1, steps * batch_size, derive(seed, "real"))[0]
    first = order[: steps * (batch_size - n_extra)].reshape(steps, batch_size - n_extra)
    if kind in ("real", "real+classical"):
        further = order[steps * (batch_size - n_extra) :].reshape(steps, n_extra)
        return np.concatenate([first, further], axis=1)
    if not len(synthetic):
        raise ValueError(
            f"arm {arm!r} takes its classes from the synthetic set, and no synthetic image is accepted; look "
            "at the column reason of synthetic.parquet, or take the arm out"
        )
    classes = np.unique(synthetic)
    extra_classes = classes[epochs(len(classes), steps, n_extra, derive(seed, "classes"))]
    if kind == REPLAY and selection:
        extra = _by_tone(real, tones, extra_classes, derive(seed, "replay"))
    elif kind == REPLAY:
        extra = images_of_classes(real, extra_classes, derive(seed, "replay"))
    else:
        extra = len(real) + images_of_classes(synthetic, extra_classes, derive(seed, "synthetic"))
    if kind == "pretrain":
        return np.concatenate([extra.ravel(), first.ravel()]).reshape(steps, batch_size)
    return np.concatenate([first, extra], axis=1)


def _by_tone(real: np.ndarray, tones: np.ndarray, classes: np.ndarray, seed: int) -> np.ndarray:
    """A real image of each of the classes: of a class each tone that it has equally often, to within one, and of such a
    tone each image once before any twice. Indices shaped as `classes`; see `batches`."""
    groups = np.where(np.isnan(tones), -1, real + len(DX) * np.nan_to_num(tones)).astype(int)  # a class with a tone
    asked = np.empty(classes.shape, int)
    for k in np.unique(classes):
        of_class, places = np.unique(groups[(real == k) & (groups >= 0)]), classes == k
        if not len(of_class):
            raise ValueError(
                f"{REPLAY}:{SKIN_TONES}: no description says the skin tone of a train image of {DX[k]}; let a "
                "describer of 02_describe say it, or take this arm out of 06_classify.arms"
            )
        asked[places] = of_class[epochs(len(of_class), 1, int(places.sum()), derive(seed, "tones", int(k)))[0]]
    return images_of_classes(groups, asked, seed)


def published_split(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Train and test rows of n pooled images, at random: PUBLISHED_TEST of them for test. Lesions leak."""
    order = np.random.default_rng(derive(seed, "published split")).permutation(n)
    n_test = round(PUBLISHED_TEST * n)
    return np.sort(order[n_test:]), np.sort(order[:n_test])
