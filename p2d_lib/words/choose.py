"""Which description of an image counts, and which cases new prompts are modelled on."""

import math

import numpy as np
import pandas as pd

from p2d_lib.seeds import derive
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words.render import PRESENT

JITTER = 0.35  # share of a class's standard deviation that a jittered prompt moves by


def chosen(descriptions: pd.DataFrame) -> pd.DataFrame:
    """One valid description per image: a person's before a machine's, then the first in the table's order."""
    valid = descriptions[descriptions["valid"]]
    return valid.sort_values("reviewer", key=lambda who: who == "", kind="stable").drop_duplicates("image_id")


def resample(table: pd.DataFrame, n: int, mode: str, seed: int) -> pd.DataFrame:
    """Rows to prompt n new images of one class with, from the class's train rows; row i is the same whatever n.

    table: the features' columns and any others, which go along. mode:
    - "empirical": the rows as they are, each once before any twice;
    - "jitter": such a row moved within 0..1 by a share of the difference of two other rows and drawn towards the mean,
      so that means and covariances stay what they were (the smoothed bootstrap of Silverman and Young, Biometrika 74,
      1987). What is unknown stays unknown;
    - "balanced": rows that show a rare combination more often, in proportion to the rarity of the rarest pair of
      features that they show together.
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
    """1 / share of the rows that show the rarest pair of features this row shows; (n,)."""
    shows = (table[list(FEATURES)].to_numpy(float) >= PRESENT).astype(float)
    together = shows.T @ shows / len(table)
    pairs = np.where(shows[:, :, None] * shows[:, None, :] > 0, together, 1.0)
    return 1 / pairs.min(axis=(1, 2))
