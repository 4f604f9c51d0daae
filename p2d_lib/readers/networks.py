"""The detector of synthetic images: a network of the reader study that learns to tell synthetic images from real ones.

It stands on the features of an extractor that was not fitted on this run's images. The scout's features may stand
beside it: the scout was fitted to name what images show, and is no judge of realism.
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from p2d_lib.models.extractors import Extractor
from p2d_lib.readers.analysis import DETECTOR
from p2d_lib.readings import readings
from p2d_lib.run import Run


def outside_study(cases: pd.DataFrame, synthetic: pd.DataFrame, key: pd.DataFrame) -> pd.DataFrame:
    """Images for the detector to learn from: columns of cases and is_synthetic (bool).

    Real ones are of val and test, since the scout and the generator were fitted on train, and of lesions that the study
    does not show; synthetic ones are accepted ones of the adapter that the study does not show.
    """
    lesions = cases["lesion_id"][cases["image_id"].isin(key["image_id"])]
    real = cases[(cases["split"] != "train") & ~cases["lesion_id"].isin(lesions)]
    accepted = synthetic[synthetic["accepted"] & (synthetic["generator"] == "adapter")]
    generated = accepted[~accepted["image_id"].isin(key["image_id"])]
    return pd.concat([real.assign(is_synthetic=False), generated.assign(is_synthetic=True)], ignore_index=True)


def read(extractor: Extractor, run: Run, pool: pd.DataFrame, study: pd.DataFrame) -> pd.DataFrame:
    """schemas.READINGS of the study's images (image_id, path) by a detector in this extractor's features.

    pool: of `outside_study`. The detector names no diagnosis: dx_read is "" (see `analysis.asked`).
    """
    features, shown = (run.in_parts(table, extractor) for table in (pool, study))
    p_synthetic = detector(features, pool["is_synthetic"], pool["dx"]).predict_proba(shown)[:, 1]
    name, nothing = f"{DETECTOR}, {extractor.title}", np.full(len(study), "", object)
    return readings(study["image_id"], name, "network", dx_read=nothing, p_synthetic=p_synthetic)


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
            "needed to learn the difference; generate more images per class in 04_sample than the study shows"
        )
    cell = pd.Series(is_synthetic.astype(str)) + np.asarray(dx, object)
    weight = len(cell) / cell.nunique() / cell.map(cell.value_counts()).to_numpy()  # 1 on average
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    return model.fit(features, is_synthetic, logisticregression__sample_weight=weight)
