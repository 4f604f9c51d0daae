"""Photographs of phantom lesions, each lesion addressed by its number, for the tests of copies and of lesions."""

from functools import cache

import numpy as np

from p2d_lib.prep import phantom
from p2d_lib.vocabulary import DX

SIZE = 64


def views(lesions, n_views=1) -> np.ndarray:
    """Phantom lesions, n_views photographs each, one lesion after the other: uint8 (n, 64, 64, 3)."""
    return np.stack([picture for number in lesions for picture in _photographs(number, n_views)])


@cache
def _photographs(number: int, n_views: int) -> list[np.ndarray]:
    rng = np.random.default_rng(number)
    lesion = phantom.make_lesion(rng, DX[number % len(DX)])
    return [phantom.render(lesion, phantom.make_view(rng, "clinic"), (SIZE, SIZE))[0] for _ in range(n_views)]
