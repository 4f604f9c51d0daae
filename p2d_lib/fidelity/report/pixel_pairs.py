"""SSIM, PSNR and MSE as the GLIDE paper prints them, and what senseless images get."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from p2d_lib.fidelity.controls import RECONSTRUCTED, SENSELESS
from p2d_lib.fidelity.measures import ALL
from p2d_lib.fidelity.pixel_pairs import NEAREST, RANDOM, SAME, SCORES
from p2d_lib.fidelity.report.cells import BOUNDS, number
from p2d_lib.fidelity.sets import FLOOR
from p2d_lib.instruments.inception_score import inception_score
from p2d_lib.instruments.jackknife import jackknife
from p2d_lib.report.tables import TOO_SMALL

HEADS = {"ssim": "SSIM ↑", "psnr": "PSNR (dB) ↑", "mse": "MSE ↓"}
DIGITS = {"ssim": 3, "psnr": 1, "mse": 0}


def glide_table(
    summary: pd.DataFrame,
    of_judge: pd.DataFrame,
    probabilities: Mapping[str, np.ndarray] | None,
    dx: np.ndarray,
    min_n: int,
) -> pd.DataFrame:
    """The columns of Shavlokhova et al. (2023) for the adapter's images, a row for each class and all pooled.

    summary: of `pixel_pairs.summarise`. of_judge: of `compare.measured`, one extractor. probabilities: that extractor's
    (n, k) of the sets "adapter" and "train", rows as dx (n,); None where it has no classes: no Inception Score then.
    """
    rows = []
    for group in (*dict.fromkeys(dx), ALL):
        members = np.flatnonzero((dx == group) | (group == ALL))
        of_class = summary.loc[("adapter", RANDOM, group)]
        frechet = of_judge.loc[("adapter", group, "frechet"), BOUNDS]
        row = {"dx": group, "pairs": str(int(of_class["n"].iloc[0]))} | _scores(of_class)
        row |= {"images": str(len(members)), "Fréchet distance ↓": number("frechet", *frechet, empty=TOO_SMALL)}
        for name, head in (
            {"adapter": "Inception Score ↑", FLOOR: "Inception Score, real"}.items() if probabilities else ()
        ):
            row[head] = _inception(probabilities[name][members]) if len(members) >= min_n else TOO_SMALL
        rows.append(row)
    return pd.DataFrame(rows)


def _scores(of_set: pd.DataFrame) -> dict[str, str]:
    return {HEADS[score]: number(score, *of_set.loc[score, BOUNDS], digits=DIGITS[score]) for score in SCORES}


def _inception(probabilities: np.ndarray) -> str:
    estimates = jackknife(lambda rows: np.array([inception_score(probabilities[rows])]), len(probabilities))
    return number("", *(float(value[0]) for value in estimates[:3]), digits=2)


def pairs_table(summary: pd.DataFrame) -> pd.DataFrame:
    """A row for each way to make pairs and each set, all classes pooled, real train images first."""
    pooled, rows = summary.xs(ALL, level="dx"), []
    for pairing in (RANDOM, NEAREST, SAME):
        of_pairing = pooled.xs(pairing, level="pairing")
        names = list(of_pairing.index.unique("set"))
        for name in sorted(names, key=lambda name: (name != FLOOR, name in SENSELESS or name == "blurred", name)):
            row = {"pairs": pairing, "images": "real" if name == FLOOR else name}
            rows.append(row | {"n": str(int(of_pairing.loc[name]["n"].iloc[0]))} | _scores(of_pairing.loc[name]))
    return pd.DataFrame(rows)


def pairs_finding(summary: pd.DataFrame) -> str:
    """Whether SSIM of random pairs could tell good images from bad ones: one sentence with the numbers."""
    ssim = summary["estimate"].xs((RANDOM, ALL, "ssim"), level=("pairing", "dx", "score"))
    ceiling = summary.at[(RECONSTRUCTED, SAME, ALL, "ssim"), "estimate"]
    better = [name for name in SENSELESS if name in ssim and ssim[name] > ssim[FLOOR]]
    verdict = (
        f"{' and '.join(better)} scores higher than real images: these numbers say nothing about realism"
        if better
        else "no senseless control scores higher than real images here, but the pairs show different lesions"
    )
    controls = ", ".join(f"{name} {ssim[name]:.2f}" for name in SENSELESS if name in ssim)
    return (
        f"SSIM of random pairs of one class (descriptive, the images are not paired): the adapter's images "
        f"{ssim['adapter']:.2f}, real images {ssim[FLOOR]:.2f}, {controls}; {verdict}. Real images that went through "
        f"the autoencoder have {ceiling:.2f} with themselves."
    )
