"""The reader study as the paper shows it: table, figures, findings."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from p2d_lib.readers import analysis
from p2d_lib.readers.study import SOURCES
from p2d_lib.report import figures, tables
from p2d_lib.vocabulary import DX

THUMBNAIL = 96  # px at most of an image in the contact sheet


def contact_sheet(pictures: np.ndarray, columns: int = 14) -> Figure:
    """All pictures, uint8 (n, h, w, 3), in the order they are read, numbered by row."""
    side = min(THUMBNAIL, *pictures.shape[1:3])
    small = [np.asarray(Image.fromarray(p).resize((side, side), Image.Resampling.LANCZOS)) for p in pictures]
    rows = [np.stack(small[start : start + columns]) for start in range(0, len(small), columns)]
    return figures.grid(rows, [f"{i * columns + 1}–{i * columns + len(row)}" for i, row in enumerate(rows)])


def readers_table(result: pd.DataFrame, simulated: bool) -> pd.DataFrame:
    """`analysis.analyse` as it is printed. simulated: the persons are the shipped example."""
    shown = {
        "reader": result["reader"],
        "kind": result["kind"].replace({"person": "simulated"} if simulated else {}),
        "n": result["n"],
        "dx, real": result["dx_real"],
        "dx, synthetic": result["dx_synthetic"],
        "real or synthetic": result["detection"],
        "AUC": result["auc"],
    }
    shown = {
        name: cells.map(lambda cell: tables.interval(*cell, digits=2)) if isinstance(cells.iloc[0], tuple) else cells
        for name, cells in shown.items()
    }
    return pd.DataFrame(shown).assign(p=result["p_holm"].map(lambda p: "–" if p != p else _p(p).removeprefix("= ")))


def roc_figure(readings: pd.DataFrame, key: pd.DataFrame, result: pd.DataFrame) -> Figure:
    """Receiver operating characteristic of "this image is synthetic", one line a reader, its area in the legend."""
    area = result.set_index("reader")["auc"]
    figure, axis = plt.subplots(figsize=(figures.TEXT_WIDTH, 2.9))
    axis.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":")
    styles = ("-", "--", "-.", (0, (1, 1)))
    for i, (reader, (false, true)) in enumerate(analysis.roc(readings, key).items()):
        axis.plot(false, true, linestyle=styles[i % 4], label=f"{reader}\nAUC {tables.interval(*area[reader], 2)}")
    axis.set(xlabel="real images called synthetic", ylabel="synthetic images called synthetic", aspect="equal")
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    figure.legend(loc="outside right center")
    return figure


def confusion_figure(readings: pd.DataFrame, key: pd.DataFrame, title: str) -> Figure:
    """Diagnoses on real and on synthetic images, in percent of the true class; darker is more."""
    figure, axes = plt.subplots(1, 2, figsize=(figures.TEXT_WIDTH, 2.6), sharey=True)
    for axis, source in zip(axes, SOURCES, strict=True):
        counts = analysis.confusion(readings, key, source)
        share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
        for (i, j), value in np.ndenumerate(share):
            if counts[i, j]:
                axis.text(
                    j, i, f"{value:.0f}", ha="center", va="center", fontsize=6, color="white" if value > 55 else "black"
                )
        axis.set(title=f"{source} (n = {counts.sum()})", xlabel="read as")
        axis.set_xticks(range(len(DX)), DX, rotation=45)
        axis.set_yticks(range(len(DX)), DX)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
    axes[0].set_ylabel("true class")
    figure.suptitle(title, fontsize=8)
    return figure


def findings(result: pd.DataFrame, key: pd.DataFrame, short: str, simulated: bool) -> list[str]:
    """What the numbers say, a sentence per question; key: of the run's own study."""
    per_source = key["source"].value_counts()
    lines = [
        f"The study shows {len(key)} images: {per_source.min()} real ones, each of another lesion, and as many "
        f"synthetic ones. {short}".strip()
    ]
    for row in result.itertuples():
        example = " (the shipped example, not a person)" if simulated and row.kind == "person" else ""
        said = []
        if row.dx_real.estimate == row.dx_real.estimate:
            said.append(f"reads {row.dx_real.estimate:.0%} of the real images right")
        if row.dx_synthetic.estimate == row.dx_synthetic.estimate:
            said.append(f"{row.dx_synthetic.estimate:.0%} of the synthetic ones ({_versus(row)})")
        if row.detection.estimate == row.detection.estimate:
            beyond = "better than" if row.detection.estimate > 0.5 else "worse than"
            verdict = f"{beyond} a coin" if row.p_holm < 0.05 else "not told from a coin"
            found = f"{row.detection.estimate:.0%} ({verdict}, p {_p(row.p_holm)})"
            said.append(f"is right about real or synthetic in {found}")
        lines.append(f"**{row.reader}**{example} {', '.join(said)}.")
    return lines


def agreement_findings(agreement: pd.DataFrame) -> list[str]:
    """A sentence on `analysis.agreement`; none where there is one reader."""
    known = agreement.dropna()
    if known.empty:
        return []
    said = [f"{row.readers} {row.kappa:.2f} on {row.question} (n = {row.n})" for row in known.itertuples()]
    return [f"Agreement beyond chance (kappa; 0 none, 1 perfect): {'; '.join(said)}."]


def _versus(row: tuple) -> str:
    real, synthetic = row.dx_real, row.dx_synthetic
    if synthetic.high < real.low:
        return "fewer, intervals apart"
    if synthetic.low > real.high:
        return "more, intervals apart"
    return "intervals overlap"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
