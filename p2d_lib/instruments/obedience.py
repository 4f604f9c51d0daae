"""Whether images obey their prompts: the scores asked for against what a network trained on real images reads.

A network that was trained on real images alone knows nothing of the generator. How well it reads real images of other
lesions, by the same measure, is the most that synthetic ones can reach.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from p2d_lib.instruments import intervals
from p2d_lib.report import tables
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.render import MARKED, PRESENT, SKIN_WORDS

DARK = 3  # level of skin tone from which on skin is dark: Fitzpatrick IV to VI
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
    seed: int,
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
      generator that shows a veil on every melanoma would else seem to obey the word "veil". NaN where no such pair is;
      an attribute that no prompt asks for is left out.
    """
    dx = np.array([DX.index(name) for name in dx])
    weights = intervals.resample(prompts, n_resamples, seed=seed).astype(float)
    right = p.argmax(1) == dx
    rows = [("class", "agreement", len(dx), *intervals.summarise(weights @ right / weights.sum(1)), 1 / len(DX))]
    for name in (name for name in attributes if requested[name].notna().any()):
        level = levels(name, requested[name].to_numpy(float))
        replicates = _concordance(level, features[:, list(FEATURES).index(name)], dx, weights)
        rows.append(
            (name, "concordance", int(np.isfinite(level).sum()), *intervals.summarise(replicates, bounds=(0, 1)), 0.5)
        )
    return pd.DataFrame(rows, columns=["attribute", "measure", "n", "estimate", "low", "high", "chance"])


def pooled(
    dx: Sequence[str], requested: pd.DataFrame, features: np.ndarray, weights: np.ndarray, attributes: Sequence[str]
) -> np.ndarray:
    """The concordance of `agreement` over the pairs of all these attributes together: replicates (1 + B,).

    dx, requested, features: as in `agreement`. weights: of `intervals.resample`, (1 + B, n). An attribute counts by its
    pairs, so few images suffice where single attributes say nothing. NaN without pairs; 1/2 is chance.
    """
    dx, weights = np.array([DX.index(name) for name in dx]), weights.astype(float)
    counts = np.zeros((2, len(weights)))
    for name in attributes:
        level = levels(name, requested[name].to_numpy(float))
        counts += _pairs(level, features[:, list(FEATURES).index(name)], dx, weights)
    return _share(*counts)


def response(
    dx: Sequence[str],
    requested: pd.DataFrame,
    features: np.ndarray,
    *,
    groups: Sequence,
    attributes: Sequence[str] = tuple(FEATURES),
    n_resamples: int = 1000,
    n_permutations: int = 999,
    seed: int,
) -> pd.DataFrame:
    """Per attribute, whether images show more of it where they are asked for more: one row an attribute.

    dx, requested, features: as in `agreement`. groups (n,): images that are resampled together (prompts, or the lesions
    of real images). Columns attribute, n (images with a known score), present (of these, with a level above the
    lowest; of skin tone, with a dark one), concordance (as in `agreement`) with low and high, rank_correlation
    (Spearman's, of level and prediction, both ranked within their class) with rank_low and rank_high: 95 % intervals
    over groups. p: one-sided, of the hypothesis that the levels were assigned to the images of a class at random, by
    permutation (exact where they were); NaN with n_permutations 0. NaN where no class has an attribute at two levels.
    """
    dx = np.array([DX.index(name) for name in dx])
    weights, rng = intervals.resample(groups, n_resamples, seed=seed).astype(float), np.random.default_rng(seed)
    rows = []
    for name in attributes:
        level, prediction = levels(name, requested[name].to_numpy(float)), features[:, list(FEATURES).index(name)]
        concordance = _concordance(level, prediction, dx, weights)
        correlation = _rank_correlation(level, prediction, dx, weights)
        rows.append(
            (
                name,
                int(np.isfinite(level).sum()),
                int(is_present(name, level).sum()),
                *intervals.summarise(concordance, bounds=(0, 1)),
                *intervals.summarise(correlation, bounds=(-1, 1)),
                _permutation_p(level, prediction, dx, n_permutations, rng),
            )
        )
    columns = ["attribute", "n", "present", "concordance", "low", "high", "rank_correlation", "rank_low", "rank_high"]
    return pd.DataFrame(rows, columns=[*columns, "p"])


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


def is_present(name: str, level: np.ndarray) -> np.ndarray:
    """Which levels (n,), of `levels`, say that the feature is there; of skin tone, that it is dark: bool (n,)."""
    return level >= (DARK if name == "background_skin_tone" else 1)


def _concordance(level: np.ndarray, prediction: np.ndarray, dx: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of pairs of one class with level_i > level_j, the share with prediction_i > prediction_j, ties half: one a
    replicate."""
    return _share(*_pairs(level, prediction, dx, weights))


def _share(right: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.divide(right, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _pairs(level: np.ndarray, prediction: np.ndarray, dx: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pairs of one class with level_i > level_j: those with prediction_i > prediction_j, ties half, and all; (2, b)."""
    right, pairs = np.zeros((2, len(weights)))
    for k in np.unique(dx):
        rows = np.flatnonzero((dx == k) & np.isfinite(level))
        more = level[rows, None] > level[rows]
        agree = more * (1 + np.sign(prediction[rows, None] - prediction[rows])) / 2
        times = weights[:, rows]
        right += ((times @ agree) * times).sum(1)
        pairs += ((times @ more) * times).sum(1)
    return np.stack([right, pairs])


def _rank_correlation(level: np.ndarray, prediction: np.ndarray, dx: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlation of the ranks that level and prediction have within their class, over all classes: one a replicate."""
    sums = np.zeros((3, len(weights)))
    for k in np.unique(dx):
        rows = np.flatnonzero((dx == k) & np.isfinite(level))
        if not len(rows):
            continue
        x, y = (rankdata(values) / len(rows) for values in (level[rows], prediction[rows]))
        times = weights[:, rows]
        total = np.maximum(times.sum(1), 1)
        mean_x, mean_y = times @ x / total, times @ y / total
        for at, (a, mean_a, b, mean_b) in enumerate(
            ((x, mean_x, y, mean_y), (x, mean_x, x, mean_x), (y, mean_y, y, mean_y))
        ):
            sums[at] += times @ (a * b) - total * mean_a * mean_b
    varies = (sums[1:] > 1e-6).all(axis=0)  # rounding leaves a little where nothing varies
    return np.divide(sums[0], np.sqrt(np.abs(sums[1] * sums[2])), out=np.full(len(weights), np.nan), where=varies)


def _permutation_p(
    level: np.ndarray, prediction: np.ndarray, dx: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> float:
    """One-sided p-value of the concordance when the levels of a class are exchanged at random among its images."""
    right, pairs = np.zeros(1 + n_permutations), 0
    for k in np.unique(dx):
        rows = np.flatnonzero((dx == k) & np.isfinite(level))
        permuted = np.tile(level[rows], (1 + n_permutations, 1))
        permuted[1:] = rng.permuted(permuted[1:], axis=1)
        ahead = (1 + np.sign(prediction[rows, None] - prediction[rows])) / 2
        for i in range(len(rows)):
            right += (permuted[:, i, None] > permuted) @ ahead[i]
        pairs += (level[rows, None] > level[rows]).sum()
    return float((right >= right[0] - 1e-9).mean()) if pairs and n_permutations else float("nan")
