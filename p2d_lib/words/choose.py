"""Which description of an image is used, and from which cases new prompts are made."""

import math

import numpy as np
import pandas as pd

from p2d_lib.seeds import derive
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words.render import PRESENT

JITTER = 0.35  # a jittered score moves by this share of its class's standard deviation


def chosen(descriptions: pd.DataFrame) -> pd.DataFrame:
    """One valid description per image: a person's if there is one, else the first in the table's order.

    An image whose description a person has rejected (an invalid row with a reviewer) has none.
    """
    rejected = descriptions.loc[~descriptions["valid"] & (descriptions["reviewer"] != ""), "image_id"]
    valid = descriptions[descriptions["valid"] & ~descriptions["image_id"].isin(rejected)]
    return valid.sort_values("reviewer", key=lambda who: who == "", kind="stable").drop_duplicates("image_id")


def resample(table: pd.DataFrame, n: int, mode: str, seed: int) -> pd.DataFrame:
    """n rows, from the train rows of one class, to make the prompts of n new images with; row i does not depend on n.

    table: the columns of the features and any others, which are kept. mode:
    - "empirical": the rows as they are; each row is used once before any is used twice;
    - "jitter": such a row is moved by a share of the difference of two other rows and shrunk towards the mean, within
      0..1, so that means and covariances are kept (the smoothed bootstrap of Silverman and Young, Biometrika 74,
      1987). Unknown scores (NaN) stay unknown;
    - "balanced": a row is the more frequent the rarer the rarest pair of features is that it shows together.
    Raises ValueError for a table without rows.
    """
    if table.empty:
        raise ValueError("no rows to resample prompts from")
    names, size = list(FEATURES), len(table)
    if mode == "balanced":
        edges = np.cumsum(_rarity(table)) / _rarity(table).sum()
        golden = (np.random.default_rng(seed).random() + np.arange(n) * (math.sqrt(5) - 1) / 2) % 1  # evenly, for any n
        return table.iloc[np.searchsorted(edges, golden, side="right").clip(max=size - 1)].reset_index(drop=True)
    rounds = [np.random.default_rng(derive(seed, "round", k)).permutation(size) for k in range(-(-n // size))]
    picked = table.iloc[np.concatenate([np.empty(0, int), *rounds])[:n].astype(int)].reset_index(drop=True)
    if mode == "jitter":
        scores = table[names].to_numpy(float)
        others = [np.random.default_rng(derive(seed, "jitter", i)).integers(size, size=2) for i in range(n)]
        a, b = np.reshape(others, (n, 2)).T.astype(int)
        mean = table[names].mean().to_numpy()
        moved = mean + math.sqrt(1 - JITTER**2) * (picked[names].to_numpy(float) - mean)
        moved = moved + JITTER * np.nan_to_num(scores[a] - scores[b]) / math.sqrt(2)
        picked[names] = 1 - np.abs(1 - np.abs(moved))  # reflected at both ends
    return picked


def _rarity(table: pd.DataFrame) -> np.ndarray:
    """For each row 1 / the share of rows that show the rarest pair of features that this row shows: float (n,)."""
    shows = (table[list(FEATURES)].to_numpy(float) >= PRESENT).astype(float)
    together = shows.T @ shows / len(table)
    pairs = np.where(shows[:, :, None] * shows[:, None, :] > 0, together, 1.0)
    return 1 / pairs.min(axis=(1, 2))
