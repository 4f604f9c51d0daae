"""The template describer: the features of an image -> 22 scores in 0..1 and a sentence.

The features come from measurements (lesion mask, pixels, metadata), or, on phantoms, from the truth that they were
rendered with. Nothing is invented: a feature that is not measured or not known is NaN, and the sentence neither
mentions nor denies it.
"""

import math

import numpy as np
import pandas as pd

from p2d_lib.describe.table import rows
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words.render import render
from p2d_lib.words.truth import has_truth, truth
from p2d_lib.words.wording import lesions

FULL_SHARE = {"light_brown": 0.25, "dark_brown": 0.25, "red": 0.25, "black": 0.125, "white": 0.125, "blue_grey": 0.25}
BY_RANK = {  # feature: its measurement, which means something only relative to the train images
    "asymmetry": "asymmetry",
    "border_irregularity": "border_irregularity",
    "color_variation": "color_spread",
    "background_skin_contrast": "skin_contrast",
}
LOWEST, HIGHEST = 0.05, 0.95  # quantiles of the train images that score 0 and 1
FULL_HAIR, FULL_RULER = 0.05, 20  # share of the image under hair, and ticks of a ruler, that score 1


class TruthError(ValueError):
    """The truth is requested, and the cases do not have it."""


def describe(cases: pd.DataFrame, measurements: pd.DataFrame, source: str = "measured") -> pd.DataFrame:
    """One row per case, as `table.rows`; the describer's name is the source.

    source: "measured", or "truth" where the cases have true_* columns, as phantoms do. Raises TruthError where they
    have none.
    """
    if source == "truth" and not has_truth(cases):
        raise TruthError(
            "template_source is 'truth', but the cases have no true_* columns: only phantoms know their truth; "
            "set it to 'measured'"
        )
    features = truth(cases) if source == "truth" else measured(cases, measurements)
    texts = [render(lesion, "sentence", len(FEATURES), math.inf) for lesion in lesions(cases, features)]
    return rows(cases["image_id"], source, texts, features)


def measured(cases: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """The features by mask, pixels and metadata, each a monotone function of one measurement; index of `cases`.

    - colours: share of the lesion, 1 from a quarter of it on (black, white: an eighth, since little of them is
    conspicuous);
      blue-whitish veil by its colour alone, the blue-grey share (as Celebi et al., Comput Med Imaging Graph 32, 2008)
    - asymmetry, border irregularity, variety of colors, contrast to the skin: linear between the 5 % and 95 %
      quantiles of the train images, for their numbers have no natural scale; test images never shape the scale
    - hair, ruler: the share of the image under hair and the ticks in a row (columns hair and ruler of the cases), in
      proportion; 7 ticks, from which on 01 calls it a ruler, score 0.35
    - evolving: 0 where the diagnosis rests on follow-up, which in HAM10000 means that nothing changed; else unknown
    - all others are unknown. Skin tone is among them: methods that estimate it from pixels disagree on HAM10000.

    Without a mask only hair, ruler and evolving can be known.
    """
    table = measurements.set_index("image_id").loc[cases["image_id"]].set_axis(cases.index)
    scores = {name: table[name] / full for name, full in FULL_SHARE.items()}
    scores["blue_whitish_veil"] = scores.pop("blue_grey")
    for feature, column in BY_RANK.items():
        low, high = table.loc[cases["split"] == "train", column].quantile([LOWEST, HIGHEST])
        scores[feature] = (table[column] - low) / (high - low if high > low else math.nan)
    scores["hair_amount"], scores["ruler_presence"] = cases["hair"] / FULL_HAIR, cases["ruler"] / FULL_RULER
    scores["evolving"] = pd.Series(np.where(cases["dx_type"] == "follow_up", 0.0, math.nan), cases.index)
    return pd.DataFrame(scores, index=cases.index).reindex(columns=list(FEATURES)).astype(float).clip(0, 1)
