"""Whether images obey their prompts: the scores asked for against what a network trained on real images reads.

A network that was trained on real images alone knows nothing of the generator. How well it reads real images of other
lesions, by the same measure, is the most that synthetic ones can reach.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from p2d_lib.instruments import intervals
from p2d_lib.report import tables
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.render import MARKED, PRESENT, SKIN_WORDS

ATTRIBUTES = ("background_skin_tone", "background_skin_contrast", "asymmetry", "color_variation", "blue_whitish_veil")


def agreement(
    prompts: Sequence[str],
    dx: Sequence[str],
    requested: pd.DataFrame,
    p: np.ndarray,
    features: np.ndarray,
    *,
    attributes: Sequence[str] = ATTRIBUTES,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Per attribute, how far the images follow their prompts, with 95 % intervals over prompts.

    prompts (n,): images of one prompt are resampled together; the words do not matter. dx (n,): the class asked for.
    requested: the scores asked for, n rows with a column per attribute, NaN where the prompt says nothing. p (n, 7),
    features (n, 22): what the network reads in each image. attributes: of the vocabulary.
    Columns attribute, measure, n, estimate, low, high, chance:

    - "class": the share of images whose most probable class is the one asked for; chance is 1/7.
    - every other: the concordance (Harrell's C, Stat Med 15, 1996; with two levels the area under the ROC curve): of
      two images of one class of which one was asked for with more of the attribute, by `levels`, how often the network
      reads more of it in that one. 1/2 is chance. Pairs are of one class since classes differ in their attributes: a
      generator that draws a veil on every melanoma would else seem to obey the word "veil". NaN where no such pair is;
      an attribute that no prompt asks for is left out.
    """
    dx = np.array([DX.index(name) for name in dx])
    weights = intervals.resample(prompts, n_resamples, seed).astype(float)
    right = p.argmax(1) == dx
    rows = [("class", "agreement", len(dx), *intervals.summarise(weights @ right / weights.sum(1)), 1 / len(DX))]
    for name in (name for name in attributes if requested[name].notna().any()):
        level = levels(name, requested[name].to_numpy(float))
        replicates = _concordance(level, features[:, list(FEATURES).index(name)], dx, weights)
        rows.append(
            (name, "concordance", int(np.isfinite(level).sum()), *intervals.summarise(replicates, bounds=(0, 1)), 0.5)
        )
    return pd.DataFrame(rows, columns=["attribute", "measure", "n", "estimate", "low", "high", "chance"])


def printed(agreements: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`agreement` of several sets of images as tables print it: a row per set, each number with its interval."""
    cells = {
        name: {row.attribute: tables.interval(row.estimate, row.low, row.high, 2) for row in table.itertuples()}
        for name, table in agreements.items()
    }
    return pd.DataFrame(cells).T.rename(columns=lambda name: name.replace("_", " ")).rename_axis("images").reset_index()


def levels(name: str, scores: np.ndarray) -> np.ndarray:
    """Scores (n,), 0..1, as the levels that prompts can tell apart: floats (n,), NaN where the score is.

    Skin tone has six words; a structure is absent, present or marked; every other feature absent or present.
    """
    if name == "background_skin_tone":
        edges = np.arange(1, len(SKIN_WORDS)) / len(SKIN_WORDS)
    else:
        edges = np.array([PRESENT, MARKED][: 2 if FEATURES[name].kind == "structure" else 1])
    return np.where(np.isfinite(scores), np.digitize(scores, edges), np.nan)


def _concordance(level: np.ndarray, prediction: np.ndarray, dx: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of pairs of one class with level_i > level_j, the share with prediction_i > prediction_j, ties half: one a
    replicate."""
    right, pairs = np.zeros((2, len(weights)))
    for k in np.unique(dx):
        rows = np.flatnonzero((dx == k) & np.isfinite(level))
        more = level[rows, None] > level[rows]
        agree = more * (1 + np.sign(prediction[rows, None] - prediction[rows])) / 2
        times = weights[:, rows]
        right += ((times @ agree) * times).sum(1)
        pairs += ((times @ more) * times).sum(1)
    return np.divide(right, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
