"""The sweep of guidance and denoising steps as 04 shows it."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from p2d_lib.instruments.multiplicity import LEVEL
from p2d_lib.instruments.rates import exact_interval
from p2d_lib.report import figures, tables
from p2d_lib.sample.sweep import FLOOR

HEADS = {"kid_scout": "KID (scout) ↓", "class_read": "class as asked ↑", "alignment": "alignment ↑"}


def sweep_table(points: pd.DataFrame, extractor: str) -> pd.DataFrame:
    """`sweep.points` as they are printed. extractor: the name of the independent extractor."""
    whole = points.astype({"steps": "Int64"}).rename(columns={**HEADS, "seconds": "seconds an image"})
    ends = {
        f"KID ({extractor}) ↓": ["kid", "kid_low", "kid_high"],
        f"less that of {FLOOR}": ["difference", "low", "high"],
    }
    for name, columns in ends.items():
        whole[name] = [tables.interval(*row) for row in points[columns].itertuples(index=False)]
    whole["p (Holm)"] = points["p"]
    return whole[["images", "guidance", "steps", *ends, "p (Holm)", *HEADS.values(), "seconds an image"]]


def sweep_figure(points: pd.DataFrame, extractor: str) -> Figure:
    """Each measure against guidance, a line per number of denoising steps; last, the trade-off: the extractor's KID
    against the share of images whose class is the one asked for, with the lowest and highest guidance beside it.

    Bars are 95 % intervals (of shares exact ones), points and bars of a line moved aside together; the grey band is
    that of real train images.
    """
    titles = {"kid": f"KID ({extractor}) ↓", **HEADS, "seconds": "seconds an image"}
    swept = points[points["steps"].notna()].astype({"steps": int})
    floor = points.set_index("images").loc[FLOOR]
    scales = sorted(swept["guidance"].unique())
    aside = 0.02 * (scales[-1] - scales[0])
    swept[["class_low", "class_high"]] = [exact_interval(round(k), int(n)) for k, n in zip(
        swept["class_read"] * swept["n"], swept["n"], strict=True)]  # fmt: skip
    bars = {"kid": ["kid_low", "kid_high"], "class_read": ["class_low", "class_high"]}
    figure, axes = plt.subplots(2, 3, figsize=(figures.TEXT_WIDTH, 3.6))
    for axis, (measure, title) in zip(axes.flat, titles.items(), strict=False):
        for k, (steps, line) in enumerate(swept.groupby("steps")):
            x = line["guidance"] + aside * (2 * k - swept["steps"].nunique() + 1)
            axis.plot(x, line[measure], **figures.line_style(k), label=f"{steps} steps")
            if measure in bars:
                axis.vlines(x, *line[bars[measure]].to_numpy().T, color=f"C{k}", linewidth=0.8)
        axis.set(title=title, xlabel="guidance")
        axis.set_xticks(scales, [f"{scale:g}" for scale in scales])
    if np.isfinite(floor["kid_high"]):
        axes[0, 0].axhspan(
            floor["kid_low"], floor["kid_high"], color="0.85", linewidth=0, label="real train images (95 %)"
        )
    axes[1, 1].set_ylim(0, 1.1 * swept["seconds"].max())
    _trade_off(axes[1, 2], swept)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def sweep_finding(points: pd.DataFrame, extractor: str) -> str:
    """Which point of the sweep has the smallest KID by extractor and scout, and which are shown to be further from real
    images than other real images are."""
    swept, floor = points[points["steps"].notna()], points.set_index("images").loc[FLOOR]
    if swept["kid"].isna().all():
        return "The points of the sweep are not compared: KID needs two images of each class or more in every set."
    best, of_scout = (swept.loc[swept[measure].idxmin()] for measure in ("kid", "kid_scout"))
    of_best, of_real = (tables.interval(row["kid"], row["kid_low"], row["kid_high"]) for row in (best, floor))
    is_further = (swept["p"] <= LEVEL) & (swept["difference"] > 0)
    if swept["p"].isna().all():
        verdict = "No point is tested against these, since that needs three images of each class"
    elif not is_further.any():
        verdict = f"No point is shown to be further than these with {best['n']:.0f} images each"
    else:
        number = f"{is_further.sum()} of the points are" if is_further.sum() > 1 else "One point is"
        among = "among them" if is_further[best.name] else "not among them"
        verdict = f"{number} shown to be further than these, the one with the smallest KID {among}"
    return (
        f"Of {len(swept)} points of the sweep, guidance {best['guidance']:g} with {best['steps']:.0f} steps has the "
        f"smallest KID to real val images by {extractor}: {of_best}, too small on average, since it is the smallest of "
        f"several. Real train images have {of_real}. {verdict} (jackknife, Holm). The scout would choose guidance "
        f"{of_scout['guidance']:g} with {of_scout['steps']:.0f} steps."
    )


def _trade_off(axis: Axes, swept: pd.DataFrame) -> None:
    for k, (_, line) in enumerate(swept.groupby("steps")):
        line = line.sort_values("guidance")
        axis.plot(line["class_read"], line["kid"], **figures.line_style(k))
        beside = {"xytext": (4, 0), "ha": "left"} if k % 2 else {"xytext": (-4, 0), "ha": "right"}
        for row in line.iloc[[0, -1]].itertuples():  # numbers at all points would stand on one another
            axis.annotate(f"{row.guidance:g}", (row.class_read, row.kid), **beside, textcoords="offset points",
                          va="center", fontsize=6, color=f"C{k}")  # fmt: skip
    axis.set(title="the trade-off", xlabel="class as asked", ylabel="KID")
    axis.margins(x=0.15)
    axis.locator_params(axis="x", nbins=3, steps=[1, 2, 4, 5, 10])  # labels of two digits, which stand apart
