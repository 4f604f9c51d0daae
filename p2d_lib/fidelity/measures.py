"""The measures between a set of images and the real test images: how each is computed, printed and judged."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from p2d_lib.fidelity.controls import SENSELESS
from p2d_lib.fidelity.sets import FLOOR
from p2d_lib.instruments import distances, extrapolation, two_sample
from p2d_lib.instruments.extrapolation import COMPONENTS, ROWS_A_COMPONENT
from p2d_lib.instruments.mmd import cmmd
from p2d_lib.instruments.vendi import vendi

ALL = "all"


class Measure(NamedTuple):
    """What is known of a measure before it is computed.

    heading: with an arrow to the better side. worst: the score of a set that shares nothing with real images, infinite
    for a distance. low, high: its range. needs: images a side. digits: after the point. by_class: whether it is also
    computed for each class; coverage is not, since of 10 real images of a class 3 others, repeated, cover 8 or 9.
    """

    heading: str
    worst: float
    low: float = 0.0
    high: float = np.inf
    needs: int = 2
    digits: int = 3
    by_class: bool = True

    @property
    def plain(self) -> str:
        """The heading without its arrow (↓ or ↑)."""
        return self.heading.removesuffix(" ↓").removesuffix(" ↑")


MEASURES = {
    "frechet": Measure("Fréchet distance ↓", np.inf, digits=1),
    "frechet_at_infinity": Measure(
        f"Fréchet distance at infinite n, {COMPONENTS} components ↓",
        np.inf,
        low=-np.inf,
        needs=COMPONENTS * ROWS_A_COMPONENT,
        digits=1,
        by_class=False,
    ),
    "kid": Measure("KID ↓", np.inf, low=-np.inf),
    "cmmd": Measure("CMMD ↓", np.inf, low=-np.inf, digits=2, by_class=False),
    "auc": Measure("AUC against real ↓", 1.0, high=1.0, needs=2 * two_sample.FOLDS),
    "precision": Measure("precision ↑", 0.0, high=1.0, needs=distances.NEIGHBOURS + 1, by_class=False),
    "recall": Measure("recall ↑", 0.0, high=1.0, needs=distances.NEIGHBOURS + 1, by_class=False),
    "density": Measure("density ↑", 0.0, needs=distances.NEIGHBOURS + 1, by_class=False),
    "coverage": Measure("coverage ↑", 0.0, high=1.0, needs=distances.NEIGHBOURS + 1, by_class=False),
    "vendi": Measure("Vendi score / real ↑", 0.0, digits=2),
}


def of_group(group: str) -> tuple[str, ...]:
    """The measures of a class, or of all classes pooled (ALL)."""
    return tuple(name for name, measure in MEASURES.items() if measure.by_class or group == ALL)


def coordinates(real: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both (n, d) in an orthonormal basis of the space that they span, (n, k) each with k at most 2 n.

    Lengths, distances and angles stay what they are, so a measure that rests on these alone is computed faster in them.
    """
    pooled = np.vstack([real, other]).astype(np.float64)
    if pooled.shape[1] > len(pooled):
        pooled = np.linalg.qr(pooled.T, mode="r").T
    return pooled[: len(real)], pooled[len(real) :]


def values(
    features: tuple[np.ndarray, np.ndarray],
    spanned: tuple[np.ndarray, np.ndarray],
    names: Sequence[str],
    classes: np.ndarray,
) -> np.ndarray:
    """The measures `names` of a real and another set of images: float64 (k,), NaN below the n that a measure needs.

    features: both sets, (n, d) each. spanned: their `coordinates`. classes (n,): of row i of both, which were chosen in
    fixed numbers.
    """
    computed, n = {}, len(features[0])
    for name in (name for name in names if n >= MEASURES[name].needs):
        if name == "kid":  # d and the single features matter, here and for the area
            computed[name] = distances.kid(*features, (classes, classes))
        elif name == "auc":
            computed[name] = two_sample.auc(*features)
        elif name == "cmmd":
            computed[name] = cmmd(*spanned, classes=(classes, classes))
        elif name in _OF_DISTANCES:
            computed[name] = _OF_DISTANCES[name](*spanned)
        elif name not in computed:
            computed |= distances.prdc(*spanned)
    return np.array([computed.get(name, np.nan) for name in names])


def _relative_vendi(real: np.ndarray, other: np.ndarray) -> float:
    """Variety within the other images (n, d) over that within as many real ones: below 1, they are more alike."""
    return vendi(other) / vendi(real)


def _frechet_at_infinity(real: np.ndarray, other: np.ndarray) -> float:
    """`extrapolation.frechet_at_infinity` in the leading principal components of both sets, (n, d) each."""
    return extrapolation.frechet_at_infinity(*extrapolation.principal(real, other))


_OF_DISTANCES = {
    "frechet": distances.frechet,
    "frechet_at_infinity": _frechet_at_infinity,
    "vendi": _relative_vendi,
}


def misled(table: pd.DataFrame) -> dict[str, tuple[str, float]]:
    """Measures that rate a senseless control as good, with the control that misleads each most and its score.

    table: of `compare.measured`. Good is half the merit of real images of other lesions or more; merit runs from 0, the
    score of sets that share nothing, to 1, the best score. That of a distance is its inverse: good is a distance of up
    to twice theirs, or within their interval, whose estimate may lie below 0. Such a measure is no evidence about a
    generator in these features.
    """
    of_all, result = table.xs(ALL, level="dx"), {}
    scores, highs = (of_all[column].unstack("metric") for column in ("estimate", "high"))
    for name in (name for name in MEASURES if name in scores):
        real, worst = scores.at[FLOOR, name], MEASURES[name].worst
        controls = scores.loc[list(SENSELESS), name]
        if np.isinf(worst):
            merit, good = -controls, -np.fmax(2 * real, highs.at[FLOOR, name])
        else:
            merit, good = (controls - worst) / (real - worst), 0.5
        if merit.max() >= good:
            result[name] = (str(merit.idxmax()), float(controls[merit.idxmax()]))
    return result
