"""SSIM, PSNR and MSE of pairs of images: the table of the GLIDE paper, and what its numbers are worth.

Shavlokhova et al. (Front Med 10, 2023, doi 10.3389/fmed.2023.1231436) print them for each class. Images sampled from
text have no counterpart: a pair shows two lesions of one class, so the numbers are descriptive. Beside them stand the
same numbers for pairs of real images, for senseless images, for pairs of nearest neighbours, and for real images as
the autoencoder gives them back, which are true pairs: a latent generator cannot come nearer.
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from skimage.metrics import structural_similarity

from p2d_lib.fidelity.compare import reduced
from p2d_lib.fidelity.controls import CONTROLS, RECONSTRUCTED, Control
from p2d_lib.fidelity.measures import ALL
from p2d_lib.fidelity.sets import FLOOR, REFERENCE, Sets
from p2d_lib.instruments.jackknife import jackknife
from p2d_lib.run import Run
from p2d_lib.seeds import derive

WINDOW = 7  # px a side of SSIM's uniform window, the default of scikit-image
PAIRS = 20  # of each class: more take minutes at 512 px and say no more
SCORES = ("ssim", "psnr", "mse")
RANDOM, NEAREST, SAME = "random", "nearest", "same image"  # how pairs are made
SHOWN_CONTROLS = ("blurred", "flat colour", "noise")


def random_pairs(dx: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Pairs of a row of one set with a row of another, both of one class, none twice: int (m, 2), sorted by class.

    dx (k,): the class of row i of both sets. n: pairs of each class, or all k_class² where these are fewer.
    """
    parts = []
    for name in dict.fromkeys(dx):
        members = np.flatnonzero(dx == name)
        rng = np.random.default_rng(derive(seed, "pairs", str(name)))
        chosen = rng.choice(len(members) ** 2, min(n, len(members) ** 2), replace=False)
        parts.append(np.column_stack([members[chosen // len(members)], members[chosen % len(members)]]))
    return np.concatenate(parts)


def nearest_pairs(first: np.ndarray, second: np.ndarray, dx: np.ndarray, n: int) -> np.ndarray:
    """The first n rows of each class with their nearest neighbour of that class in the other set: int (m, 2).

    first, second: features (k, d) whose rows i are of class dx[i]; nearest by Euclidean distance.
    """
    parts = []
    for name in dict.fromkeys(dx):
        members = np.flatnonzero(dx == name)
        nearest = cdist(first[members[:n]], second[members]).argmin(axis=1)
        parts.append(np.column_stack([members[:n], members[nearest]]))
    return np.concatenate(parts)


def scores(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """SSIM (mean of the three channels), PSNR (dB) and MSE (grey levels²) of n pairs of images: floats (n, 3).

    first, second: uint8 (n, h, w, 3). SSIM as Wang et al. (IEEE TIP 13, 2004) with a uniform window of WINDOW px. The
    PSNR of equal images is infinite.
    """
    ssim = [structural_similarity(*pair, win_size=WINDOW, channel_axis=2) for pair in zip(first, second, strict=True)]
    squared = ((first.astype(np.float32) - second) ** 2).mean(axis=(1, 2, 3), dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.column_stack([ssim, 10 * np.log10(255**2 / squared), squared])


def of_sets(
    run: Run, chosen: Sets, features: Mapping[str, np.ndarray], reconstruct: Control, px: int, seed: int, n: int = PAIRS
) -> pd.DataFrame:
    """Scores of pairs of each set with real test images: generators, train images, controls, the reconstruction.

    features: (k, d) by set, by which nearest neighbours are chosen (`compare.features`, of an independent extractor).
    reconstruct: images through the autoencoder and back. px: all images are reduced to this side first. n: pairs of
    each class. One row a pair: set, pairing, dx, first, second (rows of `chosen`) and SCORES.
    """
    made = {name: (name, None) for name in (*chosen.generators, FLOOR)}
    made |= {name: (FLOOR, CONTROLS[name]) for name in SHOWN_CONTROLS}
    at_random = random_pairs(chosen.dx, n, seed)
    tasks = [(name, RANDOM, at_random) for name in made]
    tasks += [(name, NEAREST, nearest_pairs(features[name], features[REFERENCE], chosen.dx, n)) for name in made]
    same = np.concatenate([np.flatnonzero(chosen.dx == name)[:n] for name in dict.fromkeys(chosen.dx)])
    made[RECONSTRUCTED] = (REFERENCE, reconstruct)
    tasks.append((RECONSTRUCTED, SAME, np.column_stack([same, same])))
    parts = []
    for (name, pairing, pairs), dx in product(tasks, dict.fromkeys(chosen.dx)):
        source, control = made[name]
        of_class = pairs[chosen.dx[pairs[:, 0]] == dx]
        first, second = (
            reduced(run.images(chosen.tables[table].iloc[of_class[:, side]]), px)
            for side, table in enumerate((source, REFERENCE))
        )
        first = control(first, derive(seed, name, str(dx))) if control else first
        row = {"set": name, "pairing": pairing, "dx": dx, "first": of_class[:, 0], "second": of_class[:, 1]}
        parts.append(pd.DataFrame(row | dict(zip(SCORES, scores(first, second).T, strict=True))))
    return pd.concat(parts, ignore_index=True)


def summarise(pairs: pd.DataFrame, dx: np.ndarray) -> pd.DataFrame:
    """Means over the pairs of `of_sets` with 95 % jackknife intervals, by class and over all pairs.

    An image that is left out takes all its pairs with it, so pairs that share an image do not count as independent.
    dx (k,): the class of each row of the sets. Index set, pairing, dx (ALL: all classes) and score; columns n (pairs),
    estimate, low, high.
    """
    rows = []
    for (name, pairing), of_set in pairs.groupby(["set", "pairing"], sort=False):
        for group in (*dict.fromkeys(dx), ALL):
            members = np.flatnonzero((dx == group) | (group == ALL))
            part = of_set[of_set["first"].isin(members)]
            places = np.searchsorted(members, part[["first", "second"]].to_numpy())
            values = part[list(SCORES)].to_numpy()

            def mean(kept: np.ndarray, places=places, values=values) -> np.ndarray:
                both = np.isin(places, kept).all(axis=1)
                return values[both].mean(axis=0) if both.any() else np.full(len(SCORES), np.nan)

            estimates = np.column_stack(jackknife(mean, len(members))[:3])
            rows += [(name, pairing, group, score, len(part), *estimates[k]) for k, score in enumerate(SCORES)]
    columns = ["set", "pairing", "dx", "score", "n", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns).set_index(columns[:4]).sort_index()
