"""Figures: one style, safe for colour-blind readers, the same pixels for the same data."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from p2d_lib.files import atomic
from p2d_lib.run import Run

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")  # Okabe, Ito 2008
TEXT_WIDTH = 4.8  # inches: the text width of Springer's LNCS

mpl.rcParams.update(
    {
        "axes.prop_cycle": mpl.cycler(color=OKABE_ITO),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 8,
        "axes.titlesize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "legend.frameon": False,
        "image.cmap": "cividis",
        "figure.figsize": (TEXT_WIDTH, 3.0),
        "figure.dpi": 150,
        "savefig.dpi": 300,
        "figure.constrained_layout.use": True,
        "image.interpolation": "auto",  # pixels stay pixels when enlarged, and are averaged when reduced
        "pdf.fonttype": 42,  # fonts embedded as TrueType
    }
)


def save(run: Run, name: str, figure: Figure) -> Figure:
    """Writes figures/<run>/<name>.pdf and .png, without dates, and its provenance into the run's folder.

    On phantom data a strip below the figure says so.
    """
    if run.note and not any(text.get_gid() == "note" for text in figure.texts):
        strip = 0.12 / figure.get_figheight()
        if figure.get_layout_engine():
            figure.get_layout_engine().set(rect=(0, strip, 1, 1 - strip))
        figure.text(
            0.995, 0.005, run.note, ha="right", va="bottom", fontsize=6, color="0.4", style="italic", gid="note"
        )
    for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        path = run.figures / f"{name}.{suffix}"
        with atomic(path) as partial:
            figure.savefig(partial, format=suffix, metadata=metadata)
        run.provenance(path, beside=run.folder / "figures" / path.name)
    return figure


def grid(rows: Sequence[np.ndarray], labels: Sequence[str] = (), titles: Sequence[str] = (), blocks: int = 1) -> Figure:
    """Images in rows: each row uint8 (n, h, w, 3), one h and w in all; places a short row leaves open stay white.

    labels: one beside each row. blocks: equal groups of columns, set apart. titles: one above each column or block.
    """
    height, width = rows[0].shape[1:3]
    columns = max(len(row) for row in rows)
    gap = max(1, width // 32)
    tops = np.arange(len(rows)) * (height + gap)
    lefts = np.arange(columns) * (width + gap) + np.arange(columns) * blocks // columns * 4 * gap
    page = np.full((tops[-1] + height, lefts[-1] + width, 3), 255, np.uint8)
    for top, row in zip(tops, rows, strict=True):
        for left, image in zip(lefts, row, strict=False):
            page[top : top + height, left : left + width] = image
    across = TEXT_WIDTH - 0.055 * max(map(len, labels), default=0)  # inches, beside the labels
    tall = across * page.shape[0] / page.shape[1] + 0.15 + 0.17 * bool(len(titles))  # a strip for the note
    figure, axis = plt.subplots(figsize=(TEXT_WIDTH, tall))
    axis.imshow(page)
    centres = [part.mean() + width / 2 for part in np.array_split(lefts, len(titles))] if len(titles) else []
    axis.set_xticks(centres, titles)
    axis.set_yticks(tops[: len(labels)] + height / 2, labels)
    axis.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
    axis.spines[:].set_visible(False)
    return figure


def forest(axis: Axes, labels: Sequence[str], series: Mapping[str, np.ndarray]) -> None:
    """Estimates with their intervals, one line a label from the top down, the series of a label side by side.

    series: by name in the legend, (n labels, 3) floats: estimate, low, high; NaN leaves a place empty.
    """
    lines = np.arange(len(labels))
    for i, (name, values) in enumerate(series.items()):
        estimate, low, high = np.asarray(values, float).T
        axis.errorbar(
            estimate, lines + 0.16 * (i - (len(series) - 1) / 2), xerr=(estimate - low, high - estimate),
            fmt="osD^v"[i % 5], markersize=3.5, linewidth=1, label=name,
        )  # fmt: skip
    axis.set_yticks(lines, labels)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.grid(axis="x", color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
