"""Which labels a model that has not seen the lesion doubts."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import fft
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from p2d_lib.instruments.copies import opponent_planes


def cheap_features(images: np.ndarray, measurements: pd.DataFrame) -> pd.DataFrame:
    """What a linear model needs to doubt a label: measurements, colours, and how coarse the structures are.

    images: uint8 (n, h, w, 3); measurements: their rows of `schemas.MEASUREMENTS`, whose index is kept. Colours are
    means and standard deviations of lightness and opponent colours, and means of the central half; coarseness is the
    logarithm of the energy in twelve rings of the cosine transform of the central three quarters.
    """
    h, w = images.shape[1:3]
    centre, spot = ((..., *(np.s_[n // part : n - n // part] for n in (h, w))) for part in (8, 4))
    frequency = np.hypot(*np.ogrid[: h - 2 * (h // 8), : w - 2 * (w // 8)]).ravel()
    rings = np.eye(14, dtype=np.float32)[np.digitize(frequency, np.geomspace(1, 0.75 * max(h, w), 13))][:, 1:13]
    pixels = []
    for planes in opponent_planes(images, balanced=False):
        energy = fft.dctn(planes[centre], axes=(2, 3), norm="ortho").reshape(len(planes), 3, -1) ** 2 @ rings
        parts = planes.mean((2, 3)), planes.std((2, 3)), planes[spot].mean((2, 3)), *np.moveaxis(np.log1p(energy), 1, 0)
        pixels.append(np.hstack(parts))
    table = pd.DataFrame(np.vstack(pixels), measurements.index).add_prefix("pixels_")
    return measurements.drop(columns="image_id").join(table)


def suspect_labels(features: pd.DataFrame, dx: Sequence[str], groups: Sequence[str], seed: int) -> pd.DataFrame:
    """Which labels a model that has not seen them doubts: dx, self_confidence (0..1), suggested, flagged, per row.

    Confident learning (Northcutt, Jiang, Chuang, JAIR 70, 2021): self_confidence is the probability of the row's own
    dx, suggested the likeliest of the dx whose probability reaches its own mean over the rows that have it, and a label
    is flagged when it differs from that. Probabilities are those of linear discriminant analysis (shrunk after Ledoit,
    Wolf 2004), out of up to five folds by group (lesion_id), and the mean over a group's rows. features: numbers, NaN
    allowed (n, p), e.g. `cheap_features`; dx: one per group. Raises ValueError for a dx with one group only.
    """
    table = pd.DataFrame({"dx": np.asarray(dx), "group": np.asarray(groups)}, features.index)
    lesions = table.drop_duplicates("group").set_index("group")["dx"]
    counts = lesions.value_counts()
    if counts.iloc[-1] < 2:
        raise ValueError(f"dx {counts.index[-1]!r} has one lesion: no model that has not seen it can know it")
    p = pd.DataFrame(0.0, features.index, sorted(counts.index))
    folds = StratifiedKFold(min(5, counts.iloc[-1]), shuffle=True, random_state=seed % 2**32)
    for _, out in folds.split(lesions, lesions):
        left_out = table["group"].isin(lesions.index[out])
        model = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True),
            StandardScaler(),
            LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        )
        model.fit(features[~left_out], table["dx"][~left_out])
        p.loc[left_out, model.classes_] = model.predict_proba(features[left_out])
    p = p.groupby(table["group"]).transform("mean")
    is_label = pd.get_dummies(table["dx"])[list(p)].astype(bool)
    confident = p.where(p >= p.where(is_label).mean(), -1)
    suggested = confident.idxmax(axis=1).where(confident.max(axis=1) >= 0, table["dx"])
    return table[["dx"]].assign(
        self_confidence=p.where(is_label).max(axis=1), suggested=suggested, flagged=suggested != table["dx"]
    )
