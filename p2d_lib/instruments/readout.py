"""What a linear readout of an extractor's features says of images: their class, and the vocabulary's 22 scores.

A ridge regression (a linear probe: Alain, Bengio, arXiv:1610.01644) is fitted on real images whose class and scores are
known. The extractor has never seen an image of this project, so neither has what it reads been shaped by the generator.
How well it reads real images of other lesions is the most that synthetic ones can reach.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.truth import truth

PENALTIES = np.logspace(1, 6, 11)
FOLDS = 5


def known_scores(described: pd.DataFrame) -> pd.DataFrame:
    """The 22 scores that are known of real images, index of `described`; NaN where a score is not known.

    described: cases with their chosen description. A phantom's truth stands above what a describer says of it.
    """
    return truth(described).fillna(described[list(FEATURES)].astype(float))


def of_lesions(
    described: pd.DataFrame, known: pd.DataFrame, per_class: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images that fit a readout, with their scores: one of each lesion, and at most per_class of each class.

    described: cases; known: their scores, of `known_scores`. Chance chooses. More
    images of a lesion teach a readout little, and the extractor takes its time for each.
    """
    lesions = described.sample(frac=1, random_state=seed % 2**32).drop_duplicates("lesion_id")
    taught = lesions.groupby("dx").head(per_class)
    return taught, known.loc[taught.index]


def fit(features: np.ndarray, dx: np.ndarray, scores: np.ndarray) -> Pipeline:
    """A ridge regression from features (n, d) to the class, one of DX, and to the 22 scores (n, 22).

    Scores that are not known (NaN) count as the mean of their column, and say nothing so. The penalty is the one of
    PENALTIES with the smallest leave-one-out error. `predict` gives (n, 29): the classes, then the scores.
    """
    known = np.isfinite(scores)
    means = np.divide(np.where(known, scores, 0).sum(axis=0), known.sum(axis=0), out=np.zeros(scores.shape[1]),
                      where=known.any(axis=0))  # fmt: skip
    targets = np.hstack([np.asarray(dx)[:, None] == np.array(DX), np.where(known, scores, means)])
    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(features, targets)


def held_out(features: np.ndarray, dx: np.ndarray, scores: np.ndarray, lesions: Sequence) -> np.ndarray:
    """What readouts that were fitted on other lesions say of each image: (n, 29), in FOLDS parts, as `fit` predicts.

    lesions (n,): which images show one lesion; at least FOLDS of them.
    """
    predicted = np.full((len(features), len(DX) + len(FEATURES)), np.nan)
    for rest, part in GroupKFold(FOLDS).split(features, groups=np.asarray(lesions)):
        predicted[part] = fit(features[rest], dx[rest], scores[rest]).predict(features[part])
    return predicted
