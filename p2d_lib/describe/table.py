"""What a describer leaves of each image: the artefact descriptions but for the prompt, worded for all alike."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from p2d_lib.vocabulary import FEATURES


def rows(
    image_ids: Sequence[str],
    describer: str,
    texts: Sequence[str],
    features: pd.DataFrame | Sequence[Mapping[str, float]],
    valid: Sequence[bool] | bool = True,
    seconds: Sequence[float] | float = 0.0,
    cost: Sequence[float] | float = 0.0,
) -> pd.DataFrame:
    """One row per image, as `schemas.DESCRIPTIONS` without `prompt`.

    features: scores in 0..1 by feature name, one mapping or row per image; NaN, None or missing: not known. seconds,
    cost (USD): what each description took.
    """
    scores = pd.DataFrame(features if isinstance(features, pd.DataFrame) else list(features))
    scores = scores.reindex(columns=list(FEATURES)).astype(float)
    return pd.DataFrame(
        {
            "image_id": np.asarray(image_ids, object),
            "describer": describer,
            "text": list(texts),
            **{name: scores[name].to_numpy() for name in FEATURES},
            "valid": valid,
            "reviewer": "",
            "seconds": seconds,
            "cost": cost,
        }
    )
