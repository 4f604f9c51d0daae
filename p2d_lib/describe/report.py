"""Figures of 02."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from p2d_lib.report.figures import OKABE_ITO, TEXT_WIDTH


def heatmap(scores: pd.DataFrame) -> Figure:
    """Scores in 0..1 as shades with their values, one row per feature, one column per dx; NaN stays blank."""
    figure, axis = plt.subplots(figsize=(TEXT_WIDTH, 0.19 * len(scores) + 0.6))
    shades = axis.imshow(scores.to_numpy(float), cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (i, j), score in np.ndenumerate(scores.to_numpy(float)):
        if score == score:
            axis.text(j, i, f"{score:.2f}", ha="center", va="center", fontsize=6, color="w" if score < 0.5 else "k")
    axis.set_xticks(range(scores.shape[1]), scores.columns)
    axis.set_yticks(range(len(scores)), scores.index.str.replace("_", " "))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    figure.colorbar(shades, label="mean score", fraction=0.04, pad=0.02)
    return figure


def captioned(images: np.ndarray, lines: pd.DataFrame) -> Figure:
    """Images, uint8 (n, h, w, 3), below one another, each with its row of `lines` beside it, a column a speaker."""
    figure, axes = plt.subplots(
        len(images), 2, figsize=(TEXT_WIDTH, (0.1 + 0.42 * lines.shape[1]) * len(images)), width_ratios=(1, 4.5),
        squeeze=False,
    )  # fmt: skip
    for (left, right), image, said in zip(axes, images, lines.to_dict("records"), strict=True):
        left.imshow(image)
        left.set_axis_off()
        for k, (who, text) in enumerate(said.items()):
            place = 1 - k / len(said)
            right.text(0, place, who, va="top", fontsize=6, color="0.4")
            right.text(0.13, place, textwrap.fill(text, 68) if text == text else "–", va="top", fontsize=6)
        right.set(xlim=(0, 1), ylim=(0, 1))
        right.set_axis_off()
    return figure


def curves(log: pd.DataFrame) -> Figure:
    """Loss on train batches and on val (nats a token) against steps, a panel a stage; a ring: the weights kept."""
    stages = log["stage"].unique()
    figure, axes = plt.subplots(1, len(stages), figsize=(TEXT_WIDTH, 1.6), sharey=True, squeeze=False)
    for axis, stage in zip(axes[0], stages, strict=True):
        rows = log[log["stage"] == stage]
        kept = rows.loc[rows["val_loss"].idxmin()]
        axis.plot(rows["step"], rows["loss"], color=OKABE_ITO[5], label="train")
        axis.plot(rows["step"], rows["val_loss"], color=OKABE_ITO[0], label="val")
        axis.plot(kept["step"], kept["val_loss"], "o", mfc="none", color=OKABE_ITO[3], label="kept")
        axis.set(title=f"stage {stage}", xlabel="step")
    axes[0, 0].set(ylabel="loss (nats a token)", yscale="log")
    axes[0, 0].yaxis.set(
        major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter=NullFormatter()
    )
    axes[0, -1].legend(frameon=False)
    return figure
