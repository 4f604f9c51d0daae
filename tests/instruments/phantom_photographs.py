"""Photographs of phantom lesions, each lesion addressed by its number, for the tests of copies and of lesions."""

import numpy as np

from p2d_lib.prep import phantom
from p2d_lib.vocabulary import DX

SIZE = 64


def views(lesions, n_views=1) -> np.ndarray:
    """Phantom lesions, n_views photographs each, one lesion after the other: uint8 (n, 64, 64, 3)."""
    pictures = []
    for number in lesions:
        rng = np.random.default_rng(number)
        lesion = phantom.make_lesion(rng, DX[number % len(DX)])
        for _ in range(n_views):
            pictures.append(phantom.render(lesion, phantom.make_view(rng, "clinic"), (SIZE, SIZE))[0])
    return np.stack(pictures)
