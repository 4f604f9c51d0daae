"""The table of a describer: the artefact descriptions without the prompts, which are worded alike for all."""

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

    features: scores in 0..1 by feature name, one mapping or row per image; NaN, None or missing: unknown. valid:
    whether a description may be used. seconds, cost (USD): of each description.
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


def covers(table: pd.DataFrame, cases: pd.DataFrame) -> bool:
    """Whether a describer has described every test image of the cases, so that it can be compared with others there."""
    return bool(cases.loc[cases["split"] == "test", "image_id"].isin(table["image_id"]).all())


def first_images(cases: pd.DataFrame, n: int) -> pd.DataFrame:
    """n of the cases, all of them for n = 0: images of test come before those of val, those of val before train.

    In train the classes take turns, so that a few images of it have all classes. The rows keep the order of `cases`.
    """
    turn = cases.groupby(["split", "dx"]).cumcount().where(cases["split"] == "train", 0)
    keys = pd.DataFrame({"split": cases["split"].map({"test": 0, "val": 1, "train": 2}), "turn": turn})
    order = keys.sort_values(["split", "turn"], kind="stable").index
    return cases.loc[order[: n or len(cases)]].sort_index()
