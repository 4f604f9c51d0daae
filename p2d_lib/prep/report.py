"""Figures of 01: how many of each class, what was measured, what the audit saw."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.prep.quality import entropy_filter
from p2d_lib.report.figures import OKABE_ITO, TEXT_WIDTH
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


def class_counts(cases: pd.DataFrame) -> Figure:
    """Images of each dx by split, and its lesions, on a logarithmic scale: the long tail."""
    counts = cases.groupby(["dx", "split"]).size().unstack(fill_value=0).reindex(columns=list(SPLITS), fill_value=0)
    counts = counts.loc[counts.sum(axis=1).sort_values().index]
    lesions = cases.groupby("dx")["lesion_id"].nunique()[counts.index]
    figure, axis = plt.subplots(figsize=(TEXT_WIDTH, 2.4))
    y = np.arange(len(counts))
    for k, part in enumerate(SPLITS):
        bars = axis.barh(y + 0.26 * (1 - k), counts[part], 0.24, label=part, color=OKABE_ITO[k])
        axis.bar_label(bars, [f"{n:,}" for n in counts[part]], padding=2, fontsize=6)
    names = [f"{DX_NAMES[dx]} ({n:,} lesions)" for dx, n in lesions.items()]
    axis.set_yticks(y, names)
    axis.set(xscale="log", xlim=(1, 2.2 * counts.max(axis=None)), xlabel="images")
    axis.legend(loc="lower right")
    return figure


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


def audit(cases: pd.DataFrame, doubts: pd.DataFrame) -> Figure:
    """What the audit looked at: sharpness with the blurred ones, two ways to read ITA, confidence in the labels.

    cases: with their `picture_quality.flags`; doubts: `label_doubts.suspect_labels(...)` of the same rows.
    """
    figure, (sharp, tone, labels) = plt.subplots(1, 3, figsize=(TEXT_WIDTH, 2.1))
    levels = np.log10(cases["sharpness"].clip(lower=1e-1))
    bins = np.linspace(levels.min(), levels.max(), 40)
    sharp.hist(levels[~cases["is_blurred"]], bins, color=OKABE_ITO[0], label="sharp")
    sharp.hist(levels[cases["is_blurred"]], bins, color=OKABE_ITO[1], label="blurred")
    sharp.set(xlabel="log10 sharpness", ylabel="images", title="pictures")
    if cases["is_blurred"].any():
        sharp.legend(fontsize=6)
    both = cases[["ita", "ita_patches"]].dropna().clip(-90, 90)
    tone.hexbin(both["ita"], both["ita_patches"], gridsize=24, bins="log", cmap="Greys", linewidths=0)
    ends = [both.min(axis=None), both.max(axis=None)]
    tone.plot(ends, ends, color=OKABE_ITO[1], linewidth=0.8)
    tone.set(xlabel="all skin (degrees)", ylabel="lightest patch (degrees)", title="ITA, two ways")
    labels.hist(
        [doubts.loc[flag, "self_confidence"] for flag in (~doubts["flagged"], doubts["flagged"])],
        np.linspace(0, 1, 21), stacked=True, color=OKABE_ITO[:2], label=["trusted", "doubted"],
    )  # fmt: skip
    labels.set(xlabel="confidence", title="labels", yscale="log")
    labels.legend(fontsize=6)
    return figure


def entropy(cases: pd.DataFrame, thresholds: Sequence[float], chosen: float | None = None) -> Figure:
    """The share of each dx that `picture_quality.entropy_filter` keeps; chosen: a threshold to mark, bits."""
    share = 100 * entropy_filter(cases, thresholds) / entropy_filter(cases, [0]).iloc[0]
    figure, axis = plt.subplots(figsize=(TEXT_WIDTH, 2.2))
    for name in share:
        axis.plot(share.index, share[name], label=name, linewidth=1.2, color="black" if name == "all" else None)
    if chosen is not None:
        axis.axvline(chosen, color="0.6", linewidth=0.8, linestyle=":")
    axis.set(xlabel="least entropy (bits)", ylabel="images kept (%)", ylim=(0, 103))
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
