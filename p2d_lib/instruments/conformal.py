"""A limit that new values like those of a control exceed rarely: the rule of conformal prediction."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def upper_limit(control: np.ndarray, rate: float, weights: np.ndarray | None = None) -> tuple[float, float]:
    """(limit, chance): one more value like the control's (n,) exceeds the limit with probability `chance` at most.

    The k-th largest of n exchangeable values is exceeded by one more with probability k / (n + 1) at most (Vovk et al.,
    Algorithmic Learning in a Random World, 2005). chance is the largest of these that is no more than `rate` (0..1).
    With fewer than 1 / rate - 1 values there is none: the limit is the largest value then, and chance is 1 / (n + 1).
    Without values they are infinity and 0. weights (n,): how much more frequent each value's kind is among the new ones
    than in the control, times any constant (`to_mix`); the new value then counts as one of the heaviest kind
    (Tibshirani et al., NeurIPS 2019, arXiv:1904.06019).
    """
    if not len(control):
        return np.inf, 0.0
    order = np.argsort(-control, kind="stable")
    place, chance = limit_place((np.ones(len(control)) if weights is None else weights)[order], rate)
    return float(control[order[place]]), float(chance)


def limit_place(weights: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Place (...) of the `upper_limit` among values that are sorted from the largest on, and its chance (...).

    weights (..., n): of these values; 0 for one that is none of the control's.
    """
    counts, heaviest = weights > 0, weights.max(axis=-1, keepdims=True)
    up_to = np.cumsum(weights, axis=-1)
    chances = (up_to - weights + heaviest) / (up_to[..., -1:] + heaviest)
    fits = counts & (chances <= rate + 1e-12)
    last = weights.shape[-1] - 1 - fits[..., ::-1].argmax(axis=-1)
    place = np.where(fits.any(axis=-1), last, counts.argmax(axis=-1))
    return place, np.take_along_axis(chances, place[..., None], axis=-1)[..., 0]


def to_mix(classes: Sequence, mix: Sequence) -> np.ndarray:
    """Weights (n,) by which values of `classes` (n,) stand for a set whose classes are `mix` (m,).

    Each class has its share of the set, in equal parts; the sum is the share of the set whose classes occur in
    `classes`.
    """
    classes = pd.Series(np.asarray(classes))
    share = pd.Series(np.asarray(mix)).value_counts(normalize=True)
    return (classes.map(share).fillna(0) / classes.map(classes.value_counts())).to_numpy(float)
