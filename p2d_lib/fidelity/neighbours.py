"""Nearest neighbours: synthetic images beside the nearest train images and the nearest test image.

A generator that copies shows its train images again; one that has learnt is as far from train as from test images,
which it has never seen. The check for copies (`instruments/copies.py`) chooses a neighbour by pixels, an independent
extractor by its features.
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import pairwise_distances_argmin_min

from p2d_lib.fidelity.sets import FLOOR, REFERENCE
from p2d_lib.report import figures
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX

FIRST, SUSPICIOUS = "first of each class", "most suspicious"
COLUMNS = {  # column of the path, column of what is printed below it, heading
    "path": ("dx", "synthetic"),
    "check_path": ("nearest_ratio", "copy check"),
    f"{FLOOR}_path": (f"{FLOOR}_distance", "nearest train"),
    f"{REFERENCE}_path": (f"{REFERENCE}_distance", "nearest test"),
}


def rows(synthetic: pd.DataFrame) -> pd.DataFrame:
    """Which images are shown: the adapter's first of each class in the plan, as in the grids, and as many with the
    lowest ratio of the check for copies, refused ones too. The columns of synthetic, and why: FIRST or SUSPICIOUS."""
    of_adapter = synthetic[synthetic["generator"] == "adapter"]
    first = of_adapter.drop_duplicates("dx").set_index("dx")
    first = first.loc[[dx for dx in DX if dx in first.index]].reset_index()
    suspicious = of_adapter.nsmallest(len(first), "nearest_ratio")
    return pd.concat([first.assign(why=FIRST), suspicious.assign(why=SUSPICIOUS)], ignore_index=True)


def nearest(
    run: Run, shown: pd.DataFrame, cases: pd.DataFrame, extractor: Callable[[np.ndarray], np.ndarray]
) -> pd.DataFrame:
    """The nearest train and test image of each row of `rows`, by Euclidean distance of an extractor's features.

    Adds for both splits the image_id ("train", "test"), its path and its distance, in units of the median distance of a
    test image to its nearest train image: 1 is as near as a new real lesion comes. Adds check_path, of the train image
    that the check for copies chose.
    """
    real = {split: cases[cases["split"] == split] for split in (FLOOR, REFERENCE)}
    features = {split: run.in_parts(table, extractor) for split, table in real.items()}
    of_shown = run.in_parts(shown, extractor)
    unit = np.median(pairwise_distances_argmin_min(features[REFERENCE], features[FLOOR])[1])
    result = shown.assign(check_path=cases.set_index("image_id")["path"].reindex(shown["nearest_case"]).to_numpy())
    for split, table in real.items():
        places, apart = pairwise_distances_argmin_min(of_shown, features[split])
        chosen = table.iloc[places]
        result[split], result[f"{split}_path"] = chosen["image_id"].to_numpy(), chosen["path"].to_numpy()
        result[f"{split}_distance"] = apart / unit
    return result


def sheet(run: Run, neighbours: pd.DataFrame) -> Figure:
    """A line for each row of `nearest`, two blocks side by side: the synthetic image, the train image that the check
    for copies chose, and the nearest train and test image by features, their ratio and distances below them."""
    blocks = [part.reset_index(drop=True) for _, part in neighbours.groupby("why", sort=False)]
    n, across = max(len(block) for block in blocks), len(COLUMNS) + 1
    figure, axes = plt.subplots(
        n, across * len(blocks), figsize=(figures.TEXT_WIDTH, 0.68 * n + 0.35), squeeze=False,
        width_ratios=[*[1] * len(COLUMNS), 0.2] * len(blocks),
    )  # fmt: skip
    figure.get_layout_engine().set(w_pad=0.005, h_pad=0.005, wspace=0.02, hspace=0.02)
    for axis in axes.flat:
        axis.set_axis_off()
    for b, block in enumerate(blocks):
        for c, (path, (value, title)) in enumerate(COLUMNS.items()):
            column, images = axes[:, across * b + c], run.images(block[[path]].set_axis(["path"], axis=1))
            for axis, image, text in zip(column, images, block[value], strict=False):
                axis.imshow(image)
                label = text if value == "dx" else f"{text:.2f}"
                axis.text(0.5, -0.04, label, transform=axis.transAxes, ha="center", va="top", fontsize=6)
            column[0].set_title(
                f"{block['why'][0]}\n{title}" if c == 0 else title, fontsize=6, loc="left" if c == 0 else "center"
            )
    return figure
