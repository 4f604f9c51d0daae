"""The captioner describer: the captions of an image become its text and scores."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from tqdm import tqdm

from p2d_lib.describe import table
from p2d_lib.models.captioner.decoding import DECODING, caption, several_captions
from p2d_lib.models.captioner.network import Captioner
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words.parse import parse

IMAGES_IN_MEMORY = 256
ALL_FEATURES = tuple(FEATURES)


def describe(
    cases: pd.DataFrame,
    load: Callable[[pd.DataFrame], np.ndarray],
    captioner: Captioner,
    n: int,
    features: Sequence[str] = ALL_FEATURES,
    decoding: str = "greedy",
) -> pd.DataFrame:
    """One row per case, as `table.rows`: describer "captioner". decoding: of the text, a key of `decoding.DECODING`.

    load: the images of some rows of cases, uint8 (m, h, w, 3), such as `Run.images`. text: the most likely caption; a
    row is valid where it names a diagnosis. Scores: the mean score over n captions that represent its whole
    distribution, so that a rare feature is not denied because it is never the most likely; skin tone over those that
    state it. features: those that occur in its training captions; the others are unknown (NaN), not absent.
    """
    started, texts, scores = time.monotonic(), [], []
    for start in tqdm(range(0, len(cases), IMAGES_IN_MEMORY), desc="captions", unit="part", mininterval=1):
        images = load(cases.iloc[start : start + IMAGES_IN_MEMORY])
        texts += caption(captioner, images, **DECODING[decoding])
        scores += [
            pd.DataFrame([parse(text).model_dump() for text in several])[list(features)].astype(float).mean()
            for several in several_captions(captioner, images, n, 256)
        ]
    seconds = (time.monotonic() - started) / max(1, len(cases))
    valid = [parse(text).dx is not None for text in texts]
    return table.rows(cases["image_id"], "captioner", texts, scores, valid, seconds)
