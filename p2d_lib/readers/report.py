"""The reader study as the paper shows it: table, figures, findings."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from p2d_lib.instruments import agreement
from p2d_lib.instruments.multiplicity import LEVEL
from p2d_lib.readers import analysis
from p2d_lib.readings import SOURCES
from p2d_lib.report import figures, tables
from p2d_lib.vocabulary import DX

QUESTIONS = {"dx": "the diagnosis", "source": "real or synthetic"}  # of `analysis.kappa`, in words
THUMBNAIL, COLUMNS = 96, 14  # px at most of an image in the contact sheet; images in a row of it


def contact_sheet(pictures: np.ndarray) -> Figure:
    """All pictures, uint8 (n, h, w, 3), in the order they are read, numbered by row."""
    side = min(THUMBNAIL, *pictures.shape[1:3])
    small = [np.asarray(Image.fromarray(p).resize((side, side), Image.Resampling.LANCZOS)) for p in pictures]
    rows = [np.stack(small[start : start + COLUMNS]) for start in range(0, len(small), COLUMNS)]
    return figures.grid(rows, [f"{i * COLUMNS + 1}–{i * COLUMNS + len(row)}" for i, row in enumerate(rows)])


def readers_table(result: pd.DataFrame) -> pd.DataFrame:
    """`analysis.analyse` as it is printed."""
    intervals = {
        "dx, real": "dx_real",
        "dx, synthetic": "dx_synthetic",
        "real or synthetic": "detection",
        "AUC": "auc",
    }
    printed = {name: result[column].map(lambda cell: tables.interval(*cell, 2)) for name, column in intervals.items()}
    p = {
        name: result[column].map(tables.p_value)
        for name, column in (("p (dx)", "p_dx_holm"), ("p (AUC)", "p_auc_holm"))
    }
    order = ("dx, real", "dx, synthetic", "p (dx)", "real or synthetic", "AUC", "p (AUC)")
    return result[["reader", "kind", "n"]].assign(**{name: (printed | p)[name] for name in order})


def roc_figure(readings: pd.DataFrame, key: pd.DataFrame, result: pd.DataFrame) -> Figure:
    """Receiver operating characteristic of "this image is synthetic", one line a reader, its area in the legend."""
    area = result.set_index("reader")["auc"]
    figure, axis = plt.subplots(figsize=(figures.TEXT_WIDTH, 2.9))
    axis.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":")
    for i, (reader, (false, true)) in enumerate(analysis.roc(readings, key).items()):
        label = f"{reader}\nAUC {tables.interval(*area[reader], 2)}"
        axis.plot(false, true, linestyle=figures.LINES[i % 5], label=label)
    axis.set(xlabel="real images called synthetic", ylabel="synthetic images called synthetic", aspect="equal")
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    figure.legend(loc="outside right center")
    return figure


def confusion_figure(readings: pd.DataFrame, key: pd.DataFrame) -> Figure:
    """Diagnoses on real and on synthetic images, in percent of the true class."""
    return figures.confusions({source: analysis.confusion(readings, key, source) for source in SOURCES}, DX)


def findings(result: pd.DataFrame, key: pd.DataFrame, short: str) -> list[str]:
    """The results as sentences, one per reader. result: `analysis.analyse`. key, short: of the run's own study."""
    per_source = key["source"].value_counts()
    lines = [
        f"The study shows {len(key)} images: {per_source.min()} real ones, each of another lesion, and as many "
        f"synthetic ones. {short}".strip()
    ]
    for simulated, rows in result.groupby(result["kind"] == "simulated"):
        n_tests = int(rows[["p_dx", "p_auc"]].notna().to_numpy().sum())
        example = " (the shipped example of other images; no person)" if simulated else ""
        lines += [f"**{row.reader}**{example} {'; '.join(_sentences(row, n_tests))}." for row in rows.itertuples()]
    return lines


def detector_finding(result: pd.DataFrame, pool: pd.DataFrame) -> str:
    """What the detectors of synthetic images find in their features, side by side. result: `analysis.analyse`. pool: of
    `networks.outside_study`, the images that they were fitted on."""
    rows = result[result["reader"].str.startswith(f"{analysis.DETECTOR}, ")].itertuples()
    areas = [f"{tables.interval(*row.auc, 2)} in the features of {row.reader.partition(', ')[2]}" for row in rows]
    n_synthetic = int(pool["is_synthetic"].sum())
    return (
        f"Detectors of synthetic images, fitted on {len(pool) - n_synthetic} real and {n_synthetic} synthetic images "
        f"that the study does not show, have an AUC of {' and '.join(areas)}. They may differ: the scout was fitted to "
        "name what images of this run show, and may ignore what gives synthetic ones away; an independent network "
        "keeps other detail. An AUC at chance means that this test finds no difference in these features, not that "
        "there is none."
    )


def agreement_findings(kappa: pd.DataFrame) -> list[str]:
    """A sentence for each question of `analysis.kappa`; none where there is one reader."""
    lines = []
    for question, rows in kappa.dropna(subset="kappa").groupby("question", sort=False):
        again, together = rows["readers"].str.endswith(analysis.AGAIN), ~rows["readers"].str.contains(" – ")
        parts = {
            "all readers together": rows[together],
            "two readers": rows[~again & ~together],
            "a reader with the same images shown again": rows[again],
        }
        values = [f"{who} {_kappas(part)}" for who, part in parts.items() if len(part)]
        lines.append(
            f"Agreement beyond chance on {QUESTIONS[question]} (kappa: 0 none, 1 perfect) [95 % interval over "
            f"images]: {'; '.join(values)}."
        )
    return lines


def _kappas(rows: pd.DataFrame) -> str:
    """The kappas of several pairs with the outermost ends of their intervals."""
    n = f"n = {_span(rows['n'], 'd')}"
    if rows["low"].isna().all():
        return f"{tables.TOO_SMALL} ({n}, of fewer than {agreement.FEWEST} images an interval says too little)"
    rows = rows[rows["low"].notna()]
    outermost = ", of several pairs the outermost ends" if len(rows) > 1 else ""
    ends = f"[{rows['low'].min():.2f}, {rows['high'].max():.2f}{outermost}]"
    return f"{_span(rows['kappa'], '.2f')} {ends} (n = {_span(rows['n'], 'd')})"


def _span(values: pd.Series, form: str) -> str:
    low, high = format(values.min(), form), format(values.max(), form)
    return low if low == high else f"{low} to {high}"


def _sentences(row: tuple, n_tests: int) -> list[str]:
    """The results of one reader, of n_tests that are corrected together."""
    parts = []
    if _defined(row.dx_real):
        parts.append(f"reads {row.dx_real.estimate:.0%} of the real images right")
    if _defined(row.dx_difference):
        words = ("more", "fewer", "a difference is not shown")
        verdict = _verdict(row.dx_difference.estimate, row.p_dx, row.p_dx_holm, n_tests, words)
        parts.append(f"{row.dx_synthetic.estimate:.0%} of the synthetic ones ({verdict})")
    if _defined(row.auc):
        words = ("better than chance", "worse than chance", "a difference from chance is not shown")
        verdict = _verdict(row.auc.estimate - 0.5, row.p_auc, row.p_auc_holm, n_tests, words)
        area = tables.interval(*row.auc, 2)
        parts.append(f"tells synthetic from real with AUC {area} ({verdict}), right in {row.detection.estimate:.0%}")
    return parts


def _verdict(effect: float, p: float, p_holm: float, n_tests: int, words: tuple[str, str, str]) -> str:
    """In words: above, below, not shown; a p-value that only the correction lifts over 0.05 is named as such."""
    above, below, not_shown = words
    if p_holm <= LEVEL:
        return f"{above if effect > 0 else below}, p {tables.p_value(p_holm, '= ')}"
    alone = (
        f", p {tables.p_value(p, '= ')} alone but {tables.p_value(p_holm)} among {n_tests} tests"
        if p <= LEVEL
        else f", p {tables.p_value(p_holm, '= ')}"
    )
    return not_shown + alone


def _defined(interval: tuple) -> bool:
    return bool(np.isfinite(interval[0]))
