"""The sweep of guidance and denoising steps as 04 shows it."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from p2d_lib.report import figures, tables
from p2d_lib.sample.sweep import FLOOR

HEADS = {"kid_scout": "KID (scout) ↓", "class_read": "class as asked ↑", "alignment": "alignment ↑"}


def sweep_table(points: pd.DataFrame, extractor: str) -> pd.DataFrame:
    """`sweep.points` as they are printed. extractor: the name of the independent extractor."""
    whole = points.astype({"steps": "Int64"}).rename(columns={**HEADS, "seconds": "seconds an image"})
    rows = points[["kid", "kid_low", "kid_high"]].itertuples(index=False)
    whole[f"KID ({extractor}) ↓"] = [tables.interval(*row) for row in rows]
    return whole[["images", "guidance", "steps", f"KID ({extractor}) ↓", *HEADS.values(), "seconds an image"]]


def sweep_figure(points: pd.DataFrame, extractor: str) -> Figure:
    """Each measure against guidance, a line per number of denoising steps; last, the trade-off: the extractor's KID
    against the share of images whose class is the one asked for; each point carries its guidance scale.

    The grey band is the 95 % interval of real train images.
    """
    titles = {"kid": f"KID ({extractor}) ↓", **HEADS, "seconds": "seconds an image"}
    swept = points[points["steps"].notna()].astype({"steps": int})
    floor = points.set_index("images").loc[FLOOR]
    figure, axes = plt.subplots(2, 3, figsize=(figures.TEXT_WIDTH, 3.2))
    for axis, (measure, title) in zip(axes.flat, titles.items(), strict=False):
        for k, (steps, line) in enumerate(swept.groupby("steps")):
            axis.plot(line["guidance"], line[measure], **figures.line_style(k), label=f"{steps} steps")
            if measure == "kid":
                axis.vlines(line["guidance"] + 0.12 * k, line["kid_low"], line["kid_high"], color=f"C{k}")
        axis.set(title=title, xlabel="guidance")
    if np.isfinite(floor["kid_high"]):
        axes[0, 0].axhspan(floor["kid_low"], floor["kid_high"], color="0.85", linewidth=0, label="real train images")
    axes[1, 1].set_ylim(0, 1.1 * swept["seconds"].max())
    _trade_off(axes[1, 2], swept)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def sweep_finding(points: pd.DataFrame, extractor: str) -> str:
    """Which point of the sweep is nearest to real images by extractor and scout, and whether it reaches real ones."""
    swept, floor = points[points["steps"].notna()], points.set_index("images").loc[FLOOR]
    if swept["kid"].isna().all():
        return "The points of the sweep are not compared: KID needs two images of each class or more in every set."
    best, of_scout = (swept.loc[swept[measure].idxmin()] for measure in ("kid", "kid_scout"))
    of_best, of_real = (tables.interval(row["kid"], row["kid_low"], row["kid_high"]) for row in (best, floor))
    as_near = int((swept["kid_low"] <= best["kid_high"]).sum()) - 1
    reached = "reaches that" if best["kid_low"] <= floor["kid_high"] else "does not reach that"
    return (
        f"Of {len(swept)} points of the sweep, guidance {best['guidance']:g} with {best['steps']:.0f} steps is nearest "
        f"to real val images by {extractor} (KID {of_best}; {as_near} others have intervals that overlap); real train "
        f"images have {of_real}: it {reached}. The scout would choose guidance {of_scout['guidance']:g} with "
        f"{of_scout['steps']:.0f} steps."
    )


def _trade_off(axis: Axes, swept: pd.DataFrame) -> None:
    for k, (_, line) in enumerate(swept.groupby("steps")):
        axis.plot(line["class_read"], line["kid"], **figures.line_style(k))
        beside = {"xytext": (4, 0), "ha": "left"} if k % 2 else {"xytext": (-4, 0), "ha": "right"}
        for row in line.itertuples():
            axis.annotate(f"{row.guidance:g}", (row.class_read, row.kid), **beside, textcoords="offset points",
                          va="center", fontsize=6, color=f"C{k}")  # fmt: skip
    axis.set(title="the trade-off", xlabel="class as asked", ylabel="KID")
    axis.margins(x=0.15)
