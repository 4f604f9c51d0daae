"""Can real and synthetic images be told apart: by each extractor, and in their pixels."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.fidelity import pixels
from p2d_lib.fidelity.controls import RECONSTRUCTED
from p2d_lib.fidelity.measures import ALL
from p2d_lib.fidelity.report.cells import BOUNDS, number
from p2d_lib.fidelity.sets import FLOOR, REFERENCE
from p2d_lib.instruments.pixel_statistics import BANDS
from p2d_lib.report import figures


def realism_table(measured: pd.DataFrame, in_pixels: pd.DataFrame) -> pd.DataFrame:
    """A row for each set, real train images first: AUC by each extractor, block borders and power by band."""
    rows = []
    for name in _sets(measured):
        row = {"images": "real" if name == FLOOR else name}
        for extractor in measured.index.unique("extractor"):
            row[f"AUC, {extractor} ↓"] = number("auc", *measured.loc[(extractor, name, ALL, "auc"), BOUNDS])
        borders = in_pixels.loc[(name, ALL, pixels.BORDERS), BOUNDS]
        is_infinite = np.isinf(borders["estimate"])
        row["block borders / inside"] = "no steps inside" if is_infinite else number("", *borders, digits=2)
        for metric, (low, high) in zip(pixels.POWERS, BANDS, strict=True):
            row[f"power {low:g}–{high:g}"] = number("", in_pixels.at[(name, ALL, metric), "estimate"], digits=2)
        rows.append(row)
    return pd.DataFrame(rows)


def realism_figure(measured: pd.DataFrame, in_pixels: pd.DataFrame, names: list[str]) -> Figure:
    """Left the AUC of every set by each extractor, right the power of the sets `names` by spatial frequency over that
    of real test images."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(figures.TEXT_WIDTH, 2.9), width_ratios=(1.1, 1))
    lines, of_auc = _sets(measured), measured.xs((ALL, "auc"), level=("dx", "metric"))[BOUNDS]
    areas = {name: of_auc.loc[name].loc[lines].to_numpy() for name in measured.index.unique("extractor")}
    greys = [str(grey) for grey in np.linspace(0, 0.6, len(areas))]
    figures.forest(left, ["real" if name == FLOOR else name for name in lines], areas, greys)
    left.set(xlabel="AUC against real test images", xlim=(0.3, 1.03))
    left.axvline(0.5, color="0.6", linewidth=0.6, linestyle=":")
    left.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, handletextpad=0.2, columnspacing=1)
    places = np.arange(len(BANDS))
    titles = ["real (train)" if name == FLOOR else name for name in names]
    for i, (name, title, look) in enumerate(zip(names, titles, figures.looks(titles), strict=True)):
        estimate, low, high = (
            in_pixels.xs((name, ALL), level=("set", "dx")).loc[list(pixels.POWERS), BOUNDS].to_numpy().T
        )
        right.errorbar(
            places + 0.12 * (i - (len(names) - 1) / 2), estimate, yerr=(estimate - low, high - estimate),
            **look, markersize=3, linewidth=1, label=title,
        )  # fmt: skip
    right.axhline(1, color="0.6", linewidth=0.6, linestyle=":")
    right.set(ylabel="power / that of real test images", xlabel="spatial frequency (cycles/px)", ylim=(0, 2))
    right.set_xticks(places, [f"{low:g}–{high:g}" for low, high in BANDS], rotation=30)
    right.legend(loc="upper right", handlelength=1, labelspacing=0.3, borderaxespad=0)
    return figure


def _sets(measured: pd.DataFrame) -> list[str]:
    """Real train images first, then reconstructed ones, then every other set in its order."""
    first = [FLOOR, RECONSTRUCTED]
    return [*first, *(name for name in measured.index.unique("set") if name not in (*first, REFERENCE))]
