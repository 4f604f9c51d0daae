"""Figures of 02."""

import textwrap
from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.plots import TEXT_WIDTH


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


def captioned(images: np.ndarray, captions: Iterable[str]) -> Figure:
    """Images, uint8 (n, h, w, 3), below one another, each with its caption beside it."""
    figure, axes = plt.subplots(
        len(images), 2, figsize=(TEXT_WIDTH, 0.72 * len(images)), width_ratios=(1, 5.5), squeeze=False
    )
    for (left, right), image, caption in zip(axes, images, captions, strict=True):
        left.imshow(image)
        left.set_axis_off()
        right.text(0, 0.5, textwrap.fill(caption, 68), va="center", fontsize=7)
        right.set(xlim=(0, 1), ylim=(0, 1))
        right.set_axis_off()
    return figure
