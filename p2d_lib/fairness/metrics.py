"""Metrics of groups: each is a mean over strata of the share of right readings.

accuracy has one stratum, balanced accuracy one per class, malignant sensitivity the malignant images, malignant
specificity the benign ones. So replicates and permutations of all metrics are the same few products of matrices.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from p2d_lib.vocabulary import DX, MALIGNANT

METRICS = ("accuracy", "balanced accuracy", "malignant sensitivity", "malignant specificity")
BENIGN = tuple(dx for dx in DX if dx not in MALIGNANT)


def strata(metric: str, dx: np.ndarray) -> np.ndarray:
    """The stratum of each row (n,) that a metric averages over, int; -1 for a row that is not counted."""
    if metric == "balanced accuracy":
        return np.array([DX.index(name) for name in dx], int)
    if metric == "accuracy":
        return np.zeros(len(dx), int)
    return np.where(np.isin(dx, MALIGNANT) == (metric == "malignant sensitivity"), 0, -1)


def is_right(metric: str, dx: np.ndarray, dx_read: np.ndarray) -> np.ndarray:
    """Which readings (n, k) a metric counts as right: bool. dx: (n,), dx_read: (n, k)."""
    if metric.startswith("malignant"):
        return np.isin(dx_read, MALIGNANT) == (metric == "malignant sensitivity")
    return dx_read == dx[:, None]


def mean_share(weights: np.ndarray, right: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """The weighted share of right readings, averaged over the strata that have weight: float (b, k).

    weights: (b, n). right: (n, k), 0..1. strata: int (n,). NaN where no stratum has weight.
    """
    total, present = 0, 0
    for stratum in np.unique(strata):
        rows = strata == stratum
        size = weights[:, rows].sum(1, keepdims=True)
        total = total + weights[:, rows] @ right[rows] / np.maximum(size, 1)
        present = present + (size > 0)
    with np.errstate(invalid="ignore"):
        return total / present


def _recall(dx: np.ndarray, dx_read: np.ndarray, classes: Sequence[str]) -> float:
    """Share of the classes' images that are read as any of them."""
    inside = np.isin(dx, classes)
    return float(np.isin(dx_read[inside], classes).mean()) if inside.any() else np.nan


FOR_METRIC_FRAME: Mapping = MappingProxyType(  # in numpy: scikit-learn's checks of input take most time on small groups
    {
        "accuracy": lambda dx, dx_read: float((dx == dx_read).mean()),
        "balanced accuracy": lambda dx, dx_read: float(np.mean([_recall(dx, dx_read, [k]) for k in np.unique(dx)])),
        "malignant sensitivity": lambda dx, dx_read: _recall(dx, dx_read, MALIGNANT),
        "malignant specificity": lambda dx, dx_read: _recall(dx, dx_read, BENIGN),
    }
)
