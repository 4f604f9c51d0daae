"""Whether images obey their prompts: what was asked for against what a network trained on real images reads.

The network (the scout) has seen real train images alone, so it knows nothing of the generator; how well it reads real
images of other lesions, by the same measure, is the most that synthetic ones can reach.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from p2d_lib.instruments import intervals
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.parse import parse
from p2d_lib.words.reword import plain

ATTRIBUTES = ("background_skin_tone", "asymmetry", "blue_whitish_veil")


def agreement(
    prompts: Sequence[str],
    dx: Sequence[str],
    p: np.ndarray,
    features: np.ndarray,
    *,
    wanted: pd.DataFrame | None = None,
    attributes: Sequence[str] = ATTRIBUTES,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Per attribute, how far the images follow their prompts, with 95 % intervals over prompts.

    prompts, dx: of each image (n,): the prompt in the vocabulary's words, or rewritten by its rules, and the class
    asked for. p (n, 7), features (n, 22): what the network reads in each (`classifiers.predict`). wanted: scores of the
    attributes (n rows), where they are known better than the prompt says. attributes: of the vocabulary. Columns
    attribute, measure, n, estimate, low, high, chance:

    - "class": the share of images whose most probable class is the one asked for; chance is 1/7.
    - every other: the concordance (Harrell's C, Stat Med 15, 1996; with two levels the area under the ROC curve): of
      two images of one class of which one was asked for with more of it, how often that one is read to have more. 1/2
      is chance. Pairs are of one class since classes differ in their attributes: a veil that only says "melanoma" is
      no control of the veil. NaN where no such pair was asked for; skin tone is left out where it is not said.
    """
    if wanted is None:
        wanted = pd.DataFrame([parse(plain(prompt)).model_dump() for prompt in prompts])
    dx = np.array([DX.index(name) for name in dx])
    weights = intervals.resample(prompts, n_resamples, seed).astype(float)
    right = p.argmax(1) == dx
    rows = [("class", "agreement", len(dx), *intervals.summarise(weights @ right / weights.sum(1)), 1 / len(DX))]
    for name in attributes:
        scores = wanted[name].to_numpy(float)  # None: NaN
        draws = _concordance(scores, features[:, list(FEATURES).index(name)], dx, weights)
        rows.append((name, "concordance", int(np.isfinite(scores).sum()), *intervals.summarise(draws), 0.5))
    return pd.DataFrame(rows, columns=["attribute", "measure", "n", "estimate", "low", "high", "chance"])


def _concordance(wanted: np.ndarray, found: np.ndarray, dx: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of pairs of one class with wanted_i > wanted_j, the share with found_i > found_j, ties half: one a resample."""
    right, pairs = np.zeros((2, len(weights)))
    for k in np.unique(dx):
        own = np.flatnonzero((dx == k) & np.isfinite(wanted))
        more = wanted[own, None] > wanted[own]
        agree = more * (1 + np.sign(found[own, None] - found[own])) / 2
        times = weights[:, own]
        right += ((times @ agree) * times).sum(1)
        pairs += ((times @ more) * times).sum(1)
    return np.divide(right, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
