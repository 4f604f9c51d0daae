"""The template describer: what is known or measured of an image -> 22 scores in 0..1, a sentence, a prompt.

Nothing is made up: a feature that nobody knows or measures is NaN, and is neither said nor denied.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from p2d_lib.describe.concepts import captions, keep_top
from p2d_lib.prompts import is_plain_colour, said
from p2d_lib.vocabulary import DX_NAMES, FEATURES

FULL_SHARE = {"light_brown": 0.25, "dark_brown": 0.25, "red": 0.25, "black": 0.125, "white": 0.125, "blue_grey": 0.25}
BY_RANK = {  # feature: what measures it; only its order among the train images means something
    "asymmetry": "asymmetry",
    "border_irregularity": "border_irregularity",
    "color_variation": "color_spread",
    "background_skin_contrast": "skin_contrast",
}
LOWEST, HIGHEST = 0.05, 0.95  # quantiles of the train images that score 0 and 1


def describe(
    cases: pd.DataFrame, measurements: pd.DataFrame, max_features: int, top_concepts: int = len(FEATURES)
) -> pd.DataFrame:
    """The artefact descriptions, one row per case: describer "truth" where the cases carry true_* columns, else
    "measured". max_features: how many features a prompt says at most; top_concepts: of how many, the most frequent in
    train images (see concepts.py)."""
    known = any(column.startswith("true_") for column in cases)
    features = truth(cases) if known else measured(cases, measurements)
    rows = features.to_dict("records")
    descriptions = pd.DataFrame(
        {
            "image_id": cases["image_id"].to_numpy(),
            "describer": "truth" if known else "measured",
            "text": [sentence(*case, row) for case, row in zip(_people(cases), rows, strict=True)],
            **{name: features[name].to_numpy() for name in FEATURES},
            "valid": True,
            "reviewer": "",
            "seconds": 0.0,
            "cost": 0.0,
        }
    )
    spoken = descriptions
    if top_concepts < len(FEATURES):
        spoken = keep_top(descriptions, top_concepts, descriptions[(cases["split"] == "train").to_numpy()])
    return descriptions.assign(prompt=captions(spoken, cases, max_features))


def truth(cases: pd.DataFrame) -> pd.DataFrame:
    """The features as the phantom drew them: true_<feature>, NaN where there is no such column; index of `cases`."""
    return pd.DataFrame(
        {name: cases.get(f"true_{name}", math.nan) for name in FEATURES}, index=cases.index, dtype=float
    )


def measured(cases: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """The features that mask, pixels and metadata tell, each a monotone function of one measurement; index of `cases`.

    - colours: share of the lesion, 1 from a quarter of it on (black, white: an eighth, they are marked sooner);
      blue-whitish veil by its colour alone, the blue-grey share (as Celebi et al., Comput Med Imaging Graph 32, 2008)
    - asymmetry, border irregularity, variety of colors, contrast to the skin: linear between the 5 % and 95 %
      quantiles of the train images, for their numbers have no natural scale; a test image never shapes the scale
    - evolving: 0 where the diagnosis rests on follow-up, which in HAM10000 means that nothing changed; else unknown
    - all others are unknown. Skin tone is among them: methods that read it from pixels disagree on HAM10000.
    """
    table = measurements.set_index("image_id").loc[cases["image_id"]].set_axis(cases.index)
    scores = {name: table[name] / full for name, full in FULL_SHARE.items()}
    scores["blue_whitish_veil"] = scores.pop("blue_grey")
    for feature, column in BY_RANK.items():
        low, high = table.loc[cases["split"] == "train", column].quantile([LOWEST, HIGHEST])
        scores[feature] = (table[column] - low) / (high - low if high > low else math.nan)
    scores["evolving"] = pd.Series(np.where(cases["dx_type"] == "follow_up", 0.0, math.nan), cases.index)
    return pd.DataFrame(scores, index=cases.index).reindex(columns=list(FEATURES)).astype(float).clip(0, 1)


def _people(cases: pd.DataFrame):
    return zip(cases["dx"], cases["localization"], cases["age"], cases["sex"], strict=True)


def sentence(dx: str, site: str, age: float, sex: str, features: Mapping[str, float]) -> str:
    """What a reader is told: the diagnosis, where and on whom (unsaid where unknown), what is seen, in which colors."""
    who = " ".join([f"{age:.0f}-year-old"] * (age == age) + [sex] * (sex != "unknown"))
    first = ", ".join([DX_NAMES[dx].capitalize(), *[site] * (site != "unknown"), *[who] * bool(who)]) + "."
    groups = {"Seen": [], "Colors": [], "In view": []}
    for feature in said(features):
        groups[_group(feature)].append(FEATURES[feature].phrase)
    return " ".join([first, *(f"{group}: {_list(phrases)}." for group, phrases in groups.items() if phrases)])


def _group(feature: str) -> str:
    if is_plain_colour(feature):
        return "Colors"
    return "In view" if FEATURES[feature].kind == "artefact" else "Seen"


def _list(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
