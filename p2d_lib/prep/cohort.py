"""Who is in the set: the cohort table."""

import math

import pandas as pd

from p2d_lib.schemas import SPLITS
from p2d_lib.vocabulary import DX_NAMES


def cohort(cases: pd.DataFrame) -> pd.DataFrame:
    """One row per diagnosis and one for all: lesions, images, images per split, age, sex, proof by histology.

    Age, sex and dx_type are counted over lesions (a lesion's first image), age as median [quartiles] in years, both
    over those known.
    """
    groups = [(f"{name} ({dx})", cases[cases["dx"] == dx]) for dx, name in DX_NAMES.items()]
    return pd.DataFrame([_row(name, group) for name, group in [*groups, ("all", cases)] if len(group)])


def _row(name: str, group: pd.DataFrame) -> dict:
    lesions = group.drop_duplicates("lesion_id")
    low, median, high = lesions["age"].quantile([0.25, 0.5, 0.75])
    return {
        "diagnosis": name,
        "lesions": len(lesions),
        "images": len(group),
        **{part: int((group["split"] == part).sum()) for part in SPLITS},
        "age": "–" if math.isnan(median) else f"{median:.0f} [{low:.0f}, {high:.0f}]",
        "% female": 100 * (lesions.loc[lesions["sex"] != "unknown", "sex"] == "female").mean(),
        "% histology": 100 * (lesions.loc[lesions["dx_type"] != "unknown", "dx_type"] == "histo").mean(),
    }
