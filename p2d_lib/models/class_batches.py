"""Which images each training step sees, and what each class weighs in the loss: pure functions of the labels."""

import numpy as np

from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

CLASS_WEIGHTS = ("none", "capped", "uncapped")
CAP = 3.0  # the largest weight of "capped"


def epochs(n: int, steps: int, batch_size: int, seed: int) -> np.ndarray:
    """Batches in which each of n images comes once before any comes twice: indices (steps, batch_size)."""
    rng = np.random.default_rng(seed)
    needed = steps * batch_size
    orders = [rng.permutation(n) for _ in range(-(-needed // n))]
    return np.concatenate(orders)[:needed].reshape(steps, batch_size)


def balanced(labels: np.ndarray, steps: int, batch_size: int, seed: int) -> np.ndarray:
    """Batches in which each class is equally frequent: indices (steps, batch_size). See `images_of_classes`."""
    classes = np.unique(labels)
    classes_of_places = classes[epochs(len(classes), steps, batch_size, derive(seed, "classes"))]
    return images_of_classes(labels, classes_of_places, derive(seed, "images"))


def images_of_classes(labels: np.ndarray, classes: np.ndarray, seed: int) -> np.ndarray:
    """An image of each of the classes, of a class each image once before any twice: indices shaped as `classes`.

    labels (n,), classes (any shape): indices into `vocabulary.DX`. Raises ValueError for a class without images.
    """
    images = np.empty(classes.shape, int)
    for k in np.unique(classes):
        rows, places = np.flatnonzero(labels == k), classes == k
        if not len(rows):
            raise ValueError(f"a batch needs images of class {DX[k]}, but none of the labels is {DX[k]}")
        images[places] = rows[epochs(len(rows), 1, int(places.sum()), derive(seed, int(k)))[0]]
    return images


def class_weights(labels: np.ndarray, kind: str) -> np.ndarray | None:
    """What an image of each class weighs in the loss, (7,) in the order of `vocabulary.DX`; None for "none".

    labels: of all images that are shown, repeats included. "uncapped": n / (k n_c), with n images of k classes and n_c
    of this class, so that all classes weigh the same together and the mean weight is 1; "capped": at most CAP. A class
    that is never shown weighs 1. Raises ValueError for another kind.
    """
    if kind not in CLASS_WEIGHTS:
        raise ValueError(f"no class weights {kind!r}; there are {', '.join(CLASS_WEIGHTS)}")
    if kind == "none":
        return None
    counts = np.bincount(np.ravel(labels), minlength=len(DX))
    weights = np.where(counts > 0, counts.sum() / ((counts > 0).sum() * np.maximum(counts, 1)), 1.0)
    return weights.clip(max=CAP) if kind == "capped" else weights
