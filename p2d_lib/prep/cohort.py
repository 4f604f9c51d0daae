"""Who is in the set: the cohort table, and what a split that ignores lesions would leak."""

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.plots import OKABE_ITO, TEXT_WIDTH
from p2d_lib.schemas import SPLITS
from p2d_lib.vocabulary import DX_NAMES

BOXES = {
    "area": "area (of the image)",
    "asymmetry": "asymmetry",
    "border_irregularity": "border irregularity",
    "color_spread": "spread of colours (Delta E)",
    "skin_contrast": "contrast to skin (Delta E)",
    "entropy": "entropy (bits)",
}


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
        "% female": 100 * (lesions["sex"] == "female").sum() / max(1, (lesions["sex"] != "unknown").sum()),
        "% histology": 100 * (lesions["dx_type"] == "histo").mean(),
    }


def boxes(cases: pd.DataFrame, measurements: pd.DataFrame) -> Figure:
    """Measurements and entropy by dx: boxes are quartiles, whiskers the 5 % and 95 % quantiles."""
    table = measurements.assign(entropy=cases["entropy"], dx=cases["dx"])
    figure, axes = plt.subplots(2, 3, figsize=(TEXT_WIDTH, 2.9), sharex=True)
    for axis, (column, title) in zip(axes.flat, BOXES.items(), strict=True):
        groups = [table.loc[table["dx"] == dx, column].dropna() for dx in DX_NAMES]
        drawn = axis.boxplot(groups, whis=(5, 95), showfliers=False, widths=0.6, patch_artist=True)
        for box, colour in zip(drawn["boxes"], OKABE_ITO, strict=False):
            box.set(facecolor=colour, alpha=0.6, linewidth=0.6)
        plt.setp(drawn["medians"], color="black")
        axis.set_title(title)
        axis.set_xticks(range(1, len(DX_NAMES) + 1), DX_NAMES, rotation=60, fontsize=7)
    return figure
