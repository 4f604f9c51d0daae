"""Can real and synthetic images be told apart: by each eye, and in their pixels."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.fidelity import pixels
from p2d_lib.fidelity.measures import ALL
from p2d_lib.fidelity.report.cells import number
from p2d_lib.fidelity.sets import FLOOR, REFERENCE
from p2d_lib.instruments.pixel_statistics import BANDS
from p2d_lib.report import figures

BOUNDS = ["estimate", "low", "high"]


def realism_table(measured: pd.DataFrame, in_pixels: pd.DataFrame) -> pd.DataFrame:
    """A row for each set, real train images first: area by each eye, block borders and power by band."""
    rows = []
    for name in _sets(measured):
        row = {"images": "real" if name == FLOOR else name}
        for eye in measured.index.unique("eye"):
            row[f"AUC, {eye} ↓"] = number("auc", *measured.loc[(eye, name, ALL, "auc"), BOUNDS])
        row["block borders / inside"] = number("", *in_pixels.loc[(name, ALL, pixels.BORDERS), BOUNDS], digits=2)
        for metric, (low, high) in zip(pixels.POWERS, BANDS, strict=True):
            row[f"power {low:g}–{high:g}"] = number("", in_pixels.at[(name, ALL, metric), "estimate"], digits=2)
        rows.append(row)
    return pd.DataFrame(rows)


def realism_figure(measured: pd.DataFrame, in_pixels: pd.DataFrame, names: list[str]) -> Figure:
    """Left the area of each eye for every set, right the power of the sets `names` by spatial frequency over that of
    real test images."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(figures.TEXT_WIDTH, 2.8), width_ratios=(1.15, 1))
    lines = _sets(measured)
    areas = {
        eye: measured.loc[eye].xs((ALL, "auc"), level=("dx", "metric")).loc[lines, BOUNDS].to_numpy()
        for eye in measured.index.unique("eye")
    }
    figures.forest(left, ["real" if name == FLOOR else name for name in lines], areas)
    left.set(xlabel="AUC against real test images", xlim=(0.35, 1.02))
    left.axvline(0.5, color="0.6", linewidth=0.6, linestyle=":")
    left.legend(loc="lower left", bbox_to_anchor=(-0.1, 1), ncols=len(areas))
    for name in names:
        of_set = in_pixels.loc[(name, ALL)].loc[list(pixels.POWERS)]
        right.errorbar(
            np.arange(len(BANDS)), of_set["estimate"], marker="o", markersize=3, linewidth=1,
            yerr=(of_set["estimate"] - of_set["low"], of_set["high"] - of_set["estimate"]),
            label="real (train)" if name == FLOOR else name,
        )  # fmt: skip
    right.axhline(1, color="0.6", linewidth=0.6, linestyle=":")
    right.set(ylabel="power over that of real images", xlabel="cycles / px", ylim=(0, None))
    right.set_xticks(np.arange(len(BANDS)), [f"{low:g}–{high:g}" for low, high in BANDS])
    right.tick_params(axis="x", rotation=45)
    right.legend(loc="lower left", bbox_to_anchor=(-0.1, 1), ncols=2)
    return figure


def _sets(measured: pd.DataFrame) -> list[str]:
    """Real train images first, then every other set in its order."""
    return [FLOOR, *(name for name in measured.index.unique("set") if name not in (FLOOR, REFERENCE))]
