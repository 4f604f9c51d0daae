"""What the readings of the arms say: scores with intervals, paired differences, errors by class."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from p2d_lib.instruments import intervals, multiplicity, scores
from p2d_lib.report.figures import OKABE_ITO, TEXT_WIDTH
from p2d_lib.report.tables import interval
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

NAMES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro-F1", "auc": "AUC"}
PAIRS = (("mixed", "real"), ("mixed", "real+replay"), ("real+replay", "real"), ("synthetic", "real"))
PRIMARY = "balanced_accuracy"

Draws = dict[str, dict[str, np.ndarray]]  # arm -> score -> (seeds, 1 + resamples): the sample itself comes first


def draws(readings: pd.DataFrame, cases: pd.DataFrame, seed: int, n_resamples: int = 1000) -> Draws:
    """Every score of every arm and seed on the same resamples of the test lesions, the arms as they first occur."""
    result: Draws = {}
    for arm, of_arm in _with_truth(readings, cases).groupby("arm", sort=False):
        per_seed = []
        for _, part in of_arm.groupby("seed"):
            part = part.sort_values("image_id")  # equal rows in equal places: resamples are shared
            weights = intervals.resample(part["lesion_id"], n_resamples, derive(seed, "lesions") % 2**32)
            p = part[[f"p_{dx}" for dx in DX]]
            per_seed.append(scores.resampled_scores(part["dx"], part["dx_read"], p, weights))
        result[arm] = {score: np.stack([drawn[score] for drawn in per_seed]) for score in scores.SCORES}
    return result


def arms_table(drawn: Draws) -> pd.DataFrame:
    """One row per arm: each score as the mean over seeds with its 95 % interval over lesions and seeds."""
    return pd.DataFrame(
        {NAMES[score]: interval(*_summary(of_arm[score])) for score in scores.SCORES} for of_arm in drawn.values()
    ).set_axis(pd.Index(drawn, name="arm"))


def paired(drawn: Draws) -> pd.DataFrame:
    """One row per score and pair of arms: difference, low, high, p, and p by Holm over the pairs of a score."""
    rows = [
        {"score": score, "first": first, "second": second}
        | intervals.compare(drawn[first][score], drawn[second][score])._asdict()
        for score in scores.SCORES
        for first, second in PAIRS
        if first in drawn and second in drawn
    ]
    columns = ["score", "first", "second", *intervals.Difference._fields]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(holm=table.groupby("score")["p"].transform(multiplicity.holm))


def paired_table(differences: pd.DataFrame) -> pd.DataFrame:
    """`paired` as it is printed: differences in points (hundredths)."""
    points = 100 * differences[["difference", "low", "high"]]
    return pd.DataFrame(
        {
            "comparison": differences["first"] + " − " + differences["second"],
            "score": differences["score"].map(NAMES),
            "difference (points)": [interval(*row, digits=1) for row in points.itertuples(index=False)],
            "p": differences["p"],
            "p (Holm)": differences["holm"],
        }
    )


def classes_table(readings: pd.DataFrame, cases: pd.DataFrame, seed: int, n_resamples: int = 1000) -> pd.DataFrame:
    """One row per dx in the test split: images, lesions, and each arm's recall with its interval over both."""
    table, rows = _with_truth(readings, cases), []
    for dx, of_class in table.groupby("dx"):
        row = {"dx": dx, "images": of_class["image_id"].nunique(), "lesions": of_class["lesion_id"].nunique()}
        for arm, of_arm in of_class.groupby("arm", sort=False):
            recalls = []
            for _, part in of_arm.groupby("seed"):
                part = part.sort_values("image_id")
                weights = intervals.resample(part["lesion_id"], n_resamples, derive(seed, "class", dx) % 2**32)
                recalls.append(weights @ (part["dx_read"] == dx).to_numpy() / weights.sum(1))
            row[arm] = interval(*_summary(np.stack(recalls)), digits=2)
        rows.append(row)
    return pd.DataFrame(rows)


def standard_error(drawn: Draws, arm: str, score: str = PRIMARY) -> float:
    """What the choice of test lesions alone makes one classifier's score vary by: mean over seeds, in 0..1."""
    return float(drawn[arm][score][:, 1:].std(axis=1).mean())


def findings(drawn: Draws, differences: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """What the primary score says, in sentences. test: the rows of cases that were read."""
    summary = {arm: _summary(of_arm[PRIMARY]) for arm, of_arm in drawn.items()}
    best, worst = (pick(summary, key=lambda arm: summary[arm].estimate) for pick in (max, min))
    lines = [
        f"Highest {NAMES[PRIMARY]}: **{best}**, {interval(*summary[best])}; lowest: {worst}, "
        f"{summary[worst].estimate:.3f}; guessing gives {1 / test['dx'].nunique():.3f}."
    ]
    for row in differences[differences["score"] == PRIMARY].itertuples():
        verdict = "no difference is shown" if row.holm > 0.05 else "higher" if row.difference > 0 else "**lower**"
        lines.append(
            f"{row.first} − {row.second}: {100 * row.difference:+.1f} points "
            f"[{100 * row.low:+.1f}, {100 * row.high:+.1f}], Holm p = {row.holm:.3f}: {verdict}."
        )
    error, spread = 100 * standard_error(drawn, best), 100 * drawn[best][PRIMARY][:, 0].std(ddof=1)
    lines.append(
        f"{test['lesion_id'].nunique():,} test lesions give one training's {NAMES[PRIMARY]} a standard error of "
        f"±{error:.1f} points, its seed another ±{spread:.1f} (both of {best}). Without pairing, two trainings on two "
        f"such test sets differ by up to {1.96 * 2**0.5 * (error**2 + spread**2) ** 0.5:.1f} points by chance (95 %)."
    )
    return lines


def arms_figure(drawn: Draws) -> Figure:
    """One panel per score: rings are seeds, the dot their mean, the bar its 95 % interval."""
    figure, axes = plt.subplots(1, len(scores.SCORES), figsize=(TEXT_WIDTH, 0.6 + 0.3 * len(drawn)), sharey=True)
    for axis, score in zip(axes, scores.SCORES, strict=True):
        for line, of_arm in enumerate(drawn.values()):
            estimate, low, high = _summary(of_arm[score])
            axis.errorbar(
                estimate, line, xerr=[[estimate - low], [high - estimate]], fmt="o", ms=4, color=OKABE_ITO[line]
            )
            of_seeds = of_arm[score][:, 0]
            axis.plot(of_seeds, np.full(len(of_seeds), line + 0.25), "o", mfc="none", ms=3, color=OKABE_ITO[line])
        axis.set_title(NAMES[score])
        axis.grid(axis="x", color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.locator_params(axis="x", nbins=3)
        axis.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(drawn)), drawn)
    axes[0].set_ylim(len(drawn) - 0.5, -0.5)
    return figure


def confusion_figure(readings: pd.DataFrame, cases: pd.DataFrame) -> Figure:
    """One confusion matrix per arm, its seeds added up: percent of each true class, rows true, columns read."""
    arms: Mapping[str, pd.DataFrame] = dict(list(_with_truth(readings, cases).groupby("arm", sort=False)))
    n_rows = -(-len(arms) // 2)
    figure, axes = plt.subplots(
        n_rows, 2, figsize=(TEXT_WIDTH, 2.35 * n_rows), sharex=True, sharey=True, squeeze=False
    )  # fmt: skip
    for axis in axes.flat[len(arms) :]:
        axis.set_visible(False)
    for axis, (arm, table) in zip(axes.flat, arms.items(), strict=False):
        counts = confusion_matrix(table["dx"], table["dx_read"], labels=DX).astype(float)
        percent = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axis.imshow(percent, vmin=0, vmax=100)
        for (row, column), value in np.ndenumerate(percent):
            colour = "black" if value > 55 else "white"
            axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=6, color=colour)
        axis.set_title(arm)
        axis.set_xticks(range(len(DX)), DX, rotation=60)
        axis.set_yticks(range(len(DX)), DX)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("read as")
    for axis in axes[:, 0]:
        axis.set_ylabel("is")
    return figure


def _summary(draws: np.ndarray) -> intervals.Interval:
    return intervals.summarise(draws, bounds=(0, 1))


def _with_truth(readings: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    return readings.merge(cases[["image_id", "lesion_id", "dx"]], on="image_id", validate="many_to_one")
