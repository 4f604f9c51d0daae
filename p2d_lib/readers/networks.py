"""Networks in the reader study: their answers as readings, and one that learns to tell synthetic from real."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from p2d_lib.vocabulary import DX


def detector(features: np.ndarray, is_synthetic: np.ndarray, dx: np.ndarray) -> Pipeline:
    """The classifier two-sample test of Lopez-Paz, Oquab (ICLR 2017): logistic regression, synthetic against real.

    features: (n, dim) of images outside the study; is_synthetic: bool (n,); dx: their diagnoses (n,). Each source and
    class weighs the same, so that class frequencies (long-tailed against balanced) give nothing away. Its
    `predict_proba` gives P(synthetic) in the second column. Raises ValueError when one source has no image.
    """
    is_synthetic = np.asarray(is_synthetic, bool)
    if is_synthetic.all() or not is_synthetic.any():
        raise ValueError(
            f"of {len(is_synthetic)} images outside the study {is_synthetic.sum()} are synthetic: both sources are "
            "needed to learn the difference; draw more images per class in 04_sample than the study shows"
        )
    cell = pd.Series(is_synthetic.astype(str)) + np.asarray(dx, object)
    weight = len(cell) / cell.nunique() / cell.map(cell.value_counts()).to_numpy()  # 1 on average
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    return model.fit(features, is_synthetic, logisticregression__sample_weight=weight)


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
