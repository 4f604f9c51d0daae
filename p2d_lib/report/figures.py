"""Figures: one style, safe for colour-blind readers, the same pixels for the same data."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from p2d_lib.files import atomic
from p2d_lib.run import Run

# Okabe, Ito 2008; the wine of Tol 2021 stands in the place of their yellow, which nobody sees as a line on white
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#882255", "#000000")
EVEN = 0.179  # the luminance on which black and white have the same contrast
TEXT_WIDTH = 4.8  # inches: the text width of Springer's LNCS
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))  # so that lines differ by more than their colour
MARKERS = "osD^vPX*"
LOOKS = {  # place in OKABE_ITO and MARKERS, in all figures; no figure has generators and arms
    "adapter": 0, "base": 1, "scratch-unet": 2, "scratch-vgg16-unet": 3, "cascade": 4, "textual-inversion": 5,
    "real": 6, "reconstructed": 7, "altered train images": 7,
    "synthetic": 0, "real+replay": 1, "mixed": 2, "real+classical": 3, "pretrain": 4, "curriculum": 5, "published": 7,
    "real+replay:skin-tones": 3, "mixed:skin-tones": 5,
}  # fmt: skip

sns.set_theme(
    context="paper",
    style="ticks",
    palette=sns.color_palette(OKABE_ITO),
    rc={
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "axes.labelpad": 2,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that every machine makes the same picture
        "font.size": 8,
        "grid.color": "0.9",
        "grid.linewidth": 0.6,
        "legend.fontsize": 7,
        "legend.title_fontsize": 7,
        "legend.frameon": False,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.5,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.minor.visible": False,
        "ytick.minor.visible": False,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "image.cmap": "cividis",
        "image.interpolation": "auto",  # pixels stay pixels when enlarged, and are averaged when reduced
        "figure.figsize": (TEXT_WIDTH, 3.0),
        "figure.dpi": 150,
        "figure.constrained_layout.use": True,
        "savefig.dpi": 300,
        "pdf.fonttype": 42,  # fonts embedded as TrueType
    },
)


def save(run: Run, name: str, figure: Figure, caption: str = "") -> Figure:
    """Writes figures/<run>/<name>.pdf and .png, without dates, and its provenance into the run's folder.

    caption: plain text that says what the figure shows, with n and seeds where they apply; it is kept in the provenance
    and stands below the figure on the run's page. On phantom data a strip below the figure says so.
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
        run.provenance(path, beside=run.folder / "figures" / path.name, caption=caption)
    return figure


def grid(
    rows: Sequence[np.ndarray],
    labels: Sequence[str] = (),
    titles: Sequence[str] = (),
    blocks: int | Sequence[int] = 1,
) -> Figure:
    """Images in rows: each row uint8 (n, h, w, 3), one h and w in all; a short row ends in white.

    labels: one beside each row. blocks: equal groups of columns, set apart; in all rows alike, or a number for each
    row. titles: one above each column, or above each block of the first row.
    """
    height, width = rows[0].shape[1:3]
    columns = np.arange(max(len(row) for row in rows))
    gap = max(1, width // 32)
    tops = np.arange(len(rows)) * (height + gap)
    apart = columns * np.broadcast_to(blocks, len(rows))[:, None] // len(columns) * 4 * gap
    places = columns * (width + gap) + apart  # of each column in each row
    page = np.full((tops[-1] + height, places.max() + width, 3), 255, np.uint8)
    for top, lefts, row in zip(tops, places, rows, strict=True):
        for left, image in zip(lefts, row, strict=False):
            page[top : top + height, left : left + width] = image
    longest = max((len(line) for label in labels for line in label.split("\n")), default=0)
    across = TEXT_WIDTH - 0.055 * longest  # inches, beside the labels
    tall = across * page.shape[0] / page.shape[1] + 0.15 + 0.17 * bool(len(titles))  # a strip for the note
    figure, axis = plt.subplots(figsize=(TEXT_WIDTH, tall))
    axis.imshow(page)
    centres = [part.mean() + width / 2 for part in np.array_split(places[0], len(titles))] if len(titles) else []
    axis.set_xticks(centres, titles)
    axis.set_yticks(tops[: len(labels)] + height / 2, labels)
    axis.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
    axis.spines[:].set_visible(False)
    for _ in range(2):  # how much room long labels take on a tall page is known after the first pass only
        figure.get_layout_engine().execute(figure)
    return figure


def looks(names: Sequence[str]) -> list[dict[str, str]]:
    """Colour and marker of each series of a figure: those of LOOKS, whatever stands in brackets ("real (val)"); of any
    other name the next that the figure has free."""
    known = [LOOKS.get(name.split(" (")[0]) for name in names]
    free = cycle([k for k in range(len(MARKERS)) if k not in known] or range(len(MARKERS)))
    places = [next(free) if k is None else k for k in known]
    return [{"color": OKABE_ITO[k], "marker": MARKERS[k]} for k in places]


def forest(
    axis: Axes, labels: Sequence[str], series: Mapping[str, np.ndarray], colours: Sequence[str] | None = None
) -> None:
    """Estimates with their intervals, one line a label from the top down, the series of a label side by side.

    series: by name in the legend, (n labels, 3) floats: estimate, low, high; NaN leaves a place empty. colours: of the
    series; None: those of `looks`.
    """
    lines, apart = np.arange(len(labels)), min(0.3, 0.6 / max(1, len(series)))
    for i, (look, (name, values)) in enumerate(zip(looks(list(series)), series.items(), strict=True)):
        estimate, low, high = np.asarray(values, float).T
        axis.errorbar(
            estimate, lines + apart * (i - (len(series) - 1) / 2), xerr=(estimate - low, high - estimate),
            **look | ({"color": colours[i]} if colours else {}), linestyle="none", linewidth=1, label=name,
        )  # fmt: skip
    axis.set_yticks(lines, labels)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.grid(axis="x", color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)


def boxes(axis: Axes, table: pd.DataFrame, x: str, y: str) -> None:
    """Distributions of column y by x: quartiles, whiskers at the 5 % and 95 % quantiles.

    Where no value of y is known the axis says so.
    """
    if table[y].isna().all():  # seaborn would fail
        axis.text(0.5, 0.5, "not known", ha="center", va="center", color="0.5", transform=axis.transAxes)
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "vert: bool was deprecated")  # seaborn 0.13's call of Matplotlib 3.11
        sns.boxplot(
            table, x=x, y=y, hue=x, legend=False, whis=(5, 95), showfliers=False,
            palette=OKABE_ITO[: table[x].nunique()], dodge=False, width=0.7, linewidth=0.6,
            linecolor="black", saturation=0.75, ax=axis,
        )  # fmt: skip


def strip(
    axis: Axes, table: pd.DataFrame, x: str, y: str, spread: float, hue: str | None = None, **looks: object
) -> None:
    """A dot for each row on the line of its y, moved up or down by at most `spread` lines so that none hides another.

    The same table gives the same dots: seaborn's own jitter comes from numpy's global state, which has no seed. looks:
    further arguments of seaborn's stripplot.
    """
    rng, before = np.random.default_rng(0), len(axis.collections)
    sns.stripplot(table, x=x, y=y, hue=hue, legend=False, jitter=False, ax=axis, **looks)
    for dots in axis.collections[before:]:
        places = np.array(dots.get_offsets())
        dots.set_offsets(places + np.column_stack([np.zeros(len(places)), rng.uniform(-spread, spread, len(places))]))


def heat_map(
    axis: Axes, table: pd.DataFrame, low: float = 0, high: float = 1, bar: str = "", numbers: str = ""
) -> None:
    """Numbers as shades between low and high, rows and columns labelled as the table's; NaN stays white.

    From a low below 0 the shades are those of two signs, pale at 0.

    bar: label of a colour bar, "" for none. numbers: format of the number in each cell (".0f"), "" for none.
    """
    sns.heatmap(
        table.astype(float), vmin=low, vmax=high, cmap="vlag" if low < 0 else "cividis", annot=bool(numbers),
        fmt=numbers or ".2g", annot_kws={"fontsize": 6}, linewidths=0.3, cbar=bool(bar),
        cbar_kws={"label": bar, "fraction": 0.04, "pad": 0.02} if bar else None,
        xticklabels=True, yticklabels=True, ax=axis,
    )  # fmt: skip
    axis.tick_params(length=0)
    axis.set(xlabel="", ylabel="")
    shades = axis.collections[0].get_facecolors()[table.notna().to_numpy().ravel()] if numbers else ()
    for number, shade in zip(axis.texts, shades, strict=True):
        number.set(color="black" if luminance(shade) > EVEN else "white", text=number.get_text().replace("-", "−"))


def luminance(colour: object) -> float:
    """The relative luminance of a colour of matplotlib, 0 (black) to 1 (white); WCAG 2.1."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def confusion(axis: Axes, counts: np.ndarray, labels: Sequence[str]) -> None:
    """Counts, (n classes, n classes) with rows true and columns read, shown as percent of each true class."""
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    heat_map(axis, pd.DataFrame(percent, labels, labels), high=100, numbers=".0f")
    axis.set(xlabel="read as", ylabel="true class", aspect="equal")
    plt.setp(axis.get_xticklabels(), rotation=60, ha="right", rotation_mode="anchor")
    axis.tick_params(axis="y", rotation=0)


def confusions(panels: Mapping[str, np.ndarray], labels: Sequence[str]) -> Figure:
    """A panel of `confusion` for each title, two side by side, its number of readings beside the title.

    Of an odd number the first one stands alone: a gap elsewhere would be as high as the labels of the panel above it.
    """
    n_rows = -(-len(panels) // 2)
    figure, axes = plt.subplots(
        n_rows, 2, figsize=(TEXT_WIDTH, 2.5 * n_rows), sharex=True, sharey=True, squeeze=False
    )  # fmt: skip
    unused = axes.size - len(panels)  # 0 or 1
    axes[0, -1].set_visible(not unused)
    for axis, (title, counts) in zip([axes[0, 0], *axes.flat[1 + unused :]], panels.items(), strict=True):
        confusion(axis, counts, labels)
        axis.set_title(f"{title} (n = {counts.sum():,})")
        axis.label_outer()
    return figure


def line_style(k: int) -> dict[str, Any]:
    """Colour, line and marker of the k-th of several lines, so that they differ by more than their colour."""
    return {"color": f"C{k}", "linestyle": LINES[k % 5], "marker": MARKERS[k % 5]}


def losses(axis: Axes, log: pd.DataFrame) -> None:
    """A training log, columns step, loss and perhaps val_loss: the running mean over 5 % of its steps, and val_loss.

    The axes have no labels: panels of one figure share theirs.
    """
    mean = log["loss"].rolling(max(2, len(log) // 20), min_periods=1).mean()
    axis.plot(log["step"], log["loss"], linewidth=0.5, alpha=0.3, color=OKABE_ITO[0])
    axis.plot(log["step"], mean, color=OKABE_ITO[0], label="train")
    if "val_loss" in log:
        known = log.dropna(subset="val_loss")
        axis.plot(known["step"], known["val_loss"], "o-", markersize=2.5, color=OKABE_ITO[1], label="val")
    axis.set(ylim=(0, 1.1 * max(np.percentile(log["loss"], 98), mean.max(), log.get("val_loss", mean).max())))
