"""Networks in the reader study: their answers as readings, and one that learns to tell synthetic from real."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from p2d_lib.vocabulary import DX


def detector(real: np.ndarray, synthetic: np.ndarray, dx_real: np.ndarray, dx_synthetic: np.ndarray) -> Pipeline:
    """The classifier two-sample test of Lopez-Paz, Oquab (ICLR 2017): logistic regression, synthetic against real.

    real, synthetic: features (n, dim) of images outside the study. dx_*: their diagnoses; each source and class weighs
    the same, so that class frequencies (long-tailed against balanced) give nothing away. Its `predict_proba` gives
    P(synthetic) in the second column. Raises ValueError when one source has no image.
    """
    if not (len(real) and len(synthetic)):
        raise ValueError(f"{len(real)} real and {len(synthetic)} synthetic images outside the study: both are needed")
    is_synthetic = np.repeat([0, 1], [len(real), len(synthetic)])
    cell = pd.Series(is_synthetic).astype(str) + np.concatenate([dx_real, dx_synthetic])
    weight = len(cell) / cell.nunique() / cell.map(cell.value_counts()).to_numpy()  # 1 on average
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    return model.fit(np.concatenate([real, synthetic]), is_synthetic, logisticregression__sample_weight=weight)


def readings(
    image_id: np.ndarray, reader: str, p: np.ndarray, arm: str = "", p_synthetic: np.ndarray | None = None
) -> pd.DataFrame:
    """A network's answers as schemas.READINGS.

    p: probabilities (n, 7) in the order of DX. p_synthetic: P(synthetic) (n,), or None where it was not asked.
    """
    return pd.DataFrame(
        {
            "image_id": image_id,
            "reader": reader,
            "kind": "network",
            "arm": arm,
            "seed": -1,
            "dx_read": np.array(DX)[p.argmax(1)],
            **{f"p_{dx}": p[:, k].clip(0, 1) for k, dx in enumerate(DX)},
            "is_synthetic_read": np.nan if p_synthetic is None else p_synthetic,
            "seconds": np.nan,
        }
    )
