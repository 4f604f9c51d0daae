"""How far a synthetic set lies from real images: FID, KID, precision and recall, always at equal n, beside a floor.

All work on features, (n, d) floats, whatever network they come from; a number means something only beside another one
from the same network and the same n: the bias of FID grows as n falls, and differs from model to model (Chong and
Forsyth, CVPR 2020, arXiv 1911.07023). So every comparison here draws as many images a class from either side, and the
floor is what real images of other lesions get under the same draw.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from tqdm import tqdm

from p2d_lib.seeds import derive

NEIGHBOURS = 5  # k of precision, recall, density and coverage: Naeem et al.'s choice
PRDC = ("precision", "recall", "density", "coverage")


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between Gaussians fitted to a (n, d) and b (m, d): FID (Heusel et al., NeurIPS 2017).

    |mean_a - mean_b|² + tr(S_a) + tr(S_b) - 2 tr((S_a S_b)^½). With S = RᵀR the last trace is the sum of the singular
    values of R_a R_bᵀ: clean-fid's number without its matrix square root, so it is also exact where n <= d leaves S
    singular, and takes milliseconds. Raises ValueError for fewer than two rows.
    """
    (mean_a, root_a), (mean_b, root_b) = _gaussian(a), _gaussian(b)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + (root_a**2).sum() + (root_b**2).sum() - 2 * overlap
    return max(float(distance), 0.0)  # rounding leaves -1e-14 for equal sets


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and R (min(n, d), d) with RᵀR the covariance."""
    if len(features) < 2:
        raise ValueError(f"a covariance needs two images or more, there are {len(features)}")
    features = features.astype(np.float64)
    mean = features.mean(axis=0)
    return mean, np.linalg.qr((features - mean) / np.sqrt(len(features) - 1), mode="r")


def kid(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD under the kernel (x·y/d + 1)³: KID (Bińkowski et al., ICLR 2018). About 0 for equal laws.

    The estimate over all pairs of a (n, d) and b (m, d), with no subsets to draw. Raises ValueError for fewer than
    two rows.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"KID needs two images or more a side, there are {len(a)} and {len(b)}")
    a, b = a.astype(np.float64), b.astype(np.float64)
    within = [
        (kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))
        for kernel in (_kernel(a, a), _kernel(b, b))
    ]
    return float(sum(within) - 2 * _kernel(a, b).mean())


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def prdc(real: np.ndarray, fake: np.ndarray, k: int = NEIGHBOURS) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al., NeurIPS 2019), density and coverage (Naeem et al., ICML 2020).

    real (n, d), fake (m, d). A ball around each image reaches to its k-th nearest neighbour of its own kind.
    precision: fakes inside a real ball; density: real balls a fake lies in, over k (may exceed 1); recall: reals inside
    a fake ball; coverage: real balls that hold a fake. Raises ValueError unless both sides have more than k rows.
    """
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"k = {k} neighbours need more than {k} images, there are {len(real)} and {len(fake)}")
    apart = cdist(real, fake)
    radius_real, radius_fake = (np.sort(cdist(x, x), axis=1)[:, k] for x in (real, fake))  # column 0: itself
    in_real, in_fake = apart <= radius_real[:, None], apart <= radius_fake[None, :]
    return {
        "precision": float(in_real.any(axis=0).mean()),
        "recall": float(in_fake.any(axis=1).mean()),
        "density": float(in_real.sum(axis=0).mean() / k),
        "coverage": float(in_real.any(axis=1).mean()),
    }


def equal_n(labels: Mapping[str, np.ndarray], classes: Sequence[str]) -> dict[str, int]:
    """Images a class that one draw takes from every set: four fifths of the smallest set's, so that each side varies.

    labels: the dx of each image, by set. Classes with fewer than two images in some set are left out.
    """
    smallest = {dx: min(int((labels[name] == dx).sum()) for name in labels) for dx in classes}
    return {dx: max(2, int(0.8 * n)) for dx, n in smallest.items() if n >= 2}


def compare(
    features: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    classes: Sequence[str],
    reference: str = "test",
    draws: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """Distances of every set to the reference set, per class and overall, over draws of equal n.

    features: (n, d) by set; labels: the dx of each row, by set. A draw takes `equal_n` images a class from each set
    without replacement; the row "all" pools the draw, so the mix of classes is the same on both sides. One row per
    (draw, dx, set) with n, fid, kid, and for "all" precision, recall, density and coverage. Raises ValueError when no
    class has two images in every set.
    """
    sizes = equal_n(labels, classes)
    if not sizes:
        raise ValueError(f"no class has two images in each of {', '.join(labels)}: sample more a class")
    rows = []
    for draw in tqdm(range(draws), desc="distances", unit="draw", leave=False, mininterval=1):
        drawn = {name: _draw(labels[name], sizes, derive(seed, "fidelity", name, draw)) for name in labels}
        for name in sorted(set(labels) - {reference}):
            for dx in (*sizes, "all"):
                real, other = features[reference][drawn[reference][dx]], features[name][drawn[name][dx]]
                row = {"draw": draw, "dx": dx, "set": name, "n": len(other)}
                row |= {"fid": frechet(real, other), "kid": kid(real, other)}
                rows.append(row | (prdc(real, other) if dx == "all" and len(real) > NEIGHBOURS else {}))
    return pd.DataFrame(rows, columns=["draw", "dx", "set", "n", "fid", "kid", *PRDC])


def summarise(found: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Mean of `compare`'s draws and what `level` of them hold: columns mean, low, high by (metric, set, dx)."""
    tall = found.melt(["dx", "set", "draw", "n"], var_name="metric").dropna()
    draws = tall.groupby(["metric", "set", "dx"], sort=False)["value"]
    tail = (1 - level) / 2
    return pd.DataFrame({"mean": draws.mean(), "low": draws.quantile(tail), "high": draws.quantile(1 - tail)})


def _draw(labels: np.ndarray, sizes: Mapping[str, int], seed: int) -> dict[str, np.ndarray]:
    """Row numbers of the images drawn, by class and for "all"."""
    rng = np.random.default_rng(seed)
    drawn = {dx: rng.choice(np.flatnonzero(labels == dx), n, replace=False) for dx, n in sizes.items()}
    return drawn | {"all": np.concatenate(list(drawn.values()))}
