"""Readings: which reader named which diagnosis for which image. One constructor for all kinds of readers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from p2d_lib.schemas import READINGS
from p2d_lib.vocabulary import DX

SOURCES = ("real", "synthetic")  # of an image
NO_SEED = -1


def readings(
    image_id: Sequence[str],
    reader: str,
    kind: str,
    *,
    dx_read: ArrayLike | None = None,
    p: ArrayLike | None = None,
    p_synthetic: ArrayLike | None = None,
    arm: str = "",
    seed: int = NO_SEED,
    seconds: float = np.nan,
) -> pd.DataFrame:
    """One reader's readings as schemas.READINGS, one row per image.

    image_id: (n,). kind: one of schemas.KINDS. dx_read: the diagnosis named (n,), in `vocabulary.DX`, or "", an
    abstention; default the most probable one. p: probabilities (n, 7) in the order of DX, 0..1; default none.
    p_synthetic: probability that the image is synthetic (n,), 0..1; default unknown. arm, seed: of a classifier of 06.
    seconds: for one image. Raises ValueError without dx_read and p, or when p has another shape.
    """
    image_id = np.asarray(image_id, object)
    shape = (len(image_id), len(DX))
    if p is not None and np.shape(p) != shape:
        raise ValueError(f"p has shape {np.shape(p)}; {shape} is expected for {len(image_id)} images")
    if dx_read is None and p is None:
        raise ValueError(f"reader {reader!r} has neither dx_read nor p: a reading names a diagnosis")
    p = np.full(shape, np.nan) if p is None else np.asarray(p, float)
    table = pd.DataFrame(
        {
            "image_id": image_id,
            "reader": reader,
            "kind": kind,
            "arm": arm,
            "seed": seed,
            "dx_read": np.array(DX)[p.argmax(1)] if dx_read is None else np.asarray(dx_read, object),
            **{f"p_{dx}": p[:, k] for k, dx in enumerate(DX)},
            "is_synthetic_read": np.nan if p_synthetic is None else np.asarray(p_synthetic, float),
            "seconds": seconds,
        }
    )
    return table[list(READINGS.columns)]


def counterfactual_images(pairs: pd.DataFrame) -> pd.DataFrame:
    """Rows of the artefact "counterfactual" with the image_id by which readings name each image."""
    return pairs.assign(image_id=pairs["pair_id"] + "_" + pairs["side"])
