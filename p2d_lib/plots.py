"""Figures: one style, safe for colour-blind readers, the same pixels for the same data."""

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from p2d_lib.run import Run, atomic

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")  # Okabe, Ito 2008
TEXT_WIDTH = 4.8  # inches: the text width of Springer's LNCS

mpl.rcParams.update(
    {
        "axes.prop_cycle": mpl.cycler(color=OKABE_ITO),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 8,
        "axes.titlesize": 8,
        "figure.dpi": 150,
        "savefig.dpi": 300,
        "figure.constrained_layout.use": True,
        "image.interpolation": "nearest",
        "pdf.fonttype": 42,  # fonts embedded as TrueType
        "svg.hashsalt": "prompt2derm",
    }
)


def save(run: Run, name: str, figure: Figure) -> Figure:
    """Writes figures/<run>/<name>.pdf and .png, without dates, and its provenance into the run's folder."""
    if run.note:
        figure.text(0.995, 0.005, run.note, ha="right", va="bottom", fontsize=6, color="0.4", style="italic")
    for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        path = run.figures / f"{name}.{suffix}"
        with atomic(path) as partial:
            figure.savefig(partial, format=suffix, metadata=metadata)
        run.provenance(path, beside=run.folder / "figures" / path.name)
    return figure


def grid(rows: Sequence[np.ndarray], labels: Sequence[str] = (), titles: Sequence[str] = ()) -> Figure:
    """Images in rows: rows of uint8 (n, h, w, 3), a label beside each row, a title above each column."""
    columns = max(len(row) for row in rows)
    cell = TEXT_WIDTH / columns
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(TEXT_WIDTH + 0.5, cell * len(rows) + 0.2), squeeze=False,
        gridspec_kw={"wspace": 0.02, "hspace": 0.02},
    )  # fmt: skip
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01)
    for i, row in enumerate(rows):
        for j, axis in enumerate(axes[i]):
            axis.set(xticks=[], yticks=[], frame_on=False)
            if j < len(row):
                axis.imshow(row[j])
        if i < len(labels):
            axes[i, 0].set_ylabel(labels[i], rotation=0, ha="right", va="center")
    for axis, title in zip(axes[0], titles, strict=False):
        axis.set_title(title)
    return figure
