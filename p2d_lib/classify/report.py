"""The comparison of arms as the paper shows it: tables, figures, findings."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from p2d_lib.classify import comparison, reading_tests
from p2d_lib.classify.comparison import PRIMARY, Replicates
from p2d_lib.instruments import multiplicity, scores
from p2d_lib.report import figures
from p2d_lib.report.tables import TOO_SMALL, interval
from p2d_lib.vocabulary import DX

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "auc": "AUC",
    "weighted_f1": "weighted F1",
    "macro_precision": "macro precision",
    "average_precision": "average precision",
    "malignant_auc": "malignant AUC",
    **{f"malignant_sensitivity_at_{s}": f"malignant sensitivity at {s} % specificity" for s in scores.SPECIFICITIES},
    "brier": "Brier score ↓",
    "calibration_error": "calibration error (ECE) ↓",
}


def arms_table(of_arms: Replicates) -> pd.DataFrame:
    """One row per arm: each score as the mean over seeds with its 95 % interval over lesions and seeds."""
    return pd.DataFrame(
        {NAMES[score]: interval(*comparison.summary(of_arm[score])) for score in scores.SCORES}
        for of_arm in of_arms.values()
    ).set_axis(pd.Index(of_arms, name="arm"))


def scores_table(of_arms: Replicates) -> pd.DataFrame:
    """One row per further score, one column per arm: the mean over seeds with its 95 % interval over lesions and seeds.

    The calibration error has no interval, since resamples raise it (`calibration.calibration_error`).
    """
    table = {
        arm: [
            f"{of_arm[score][:, 0].mean():.3f}"
            if score == "calibration_error"
            else interval(*comparison.summary(of_arm[score]))
            for score in scores.FURTHER
        ]
        for arm, of_arm in of_arms.items()
    }
    return pd.DataFrame(table, index=pd.Index([NAMES[score] for score in scores.FURTHER], name="score"))


def paired_table(differences: pd.DataFrame) -> pd.DataFrame:
    """`comparison.paired` as it is printed: differences in points (hundredths), a verdict on the primary score."""
    points = 100 * differences[["difference", "low", "high", "lowest", "highest"]]
    return pd.DataFrame(
        {
            "comparison": differences["first"] + " − " + differences["second"],
            "score": differences["score"].map(NAMES),
            "difference (points)": [interval(*row[:3], digits=1) for row in points.itertuples(index=False)],
            "detectable (points)": [f"{100 * row.detectable:.1f}" for row in differences.itertuples()],
            "single seeds": [f"{row.lowest:.1f} to {row.highest:.1f}" for row in points.itertuples()],
            "same sign": [f"{row.agreeing} of {row.n_seeds}" for row in differences.itertuples()],
            "p": differences["p"],
            "p (Holm)": differences["p_holm"],
            "verdict": [_verdict(row) if row.score == PRIMARY else None for row in differences.itertuples()],
        }
    )


def tests_table(tests: pd.DataFrame) -> pd.DataFrame:
    """`reading_tests.reading_tests` as it is printed: differences in points, TOO_SMALL where there are few lesions."""
    points = (100 * tests[["difference", "low", "high"]].astype(float)).itertuples(index=False)
    return pd.DataFrame(
        {
            "comparison": tests["first"] + " − " + tests["second"],
            "test": tests["test"].map(reading_tests.TESTS),
            "score": tests["test"].map(reading_tests.SCORE).map(NAMES),
            "difference (points)": [_points(*row) for row in points],
            "p": tests["p"].astype(float),
            "p (Holm)": tests["p_holm"],
        }
    )


def classes_table(readings: pd.DataFrame, cases: pd.DataFrame, seed: int, n_resamples: int = 1000) -> pd.DataFrame:
    """One row per dx in the test split: images, lesions, and each arm's recall with its 95 % interval.

    A class of too few lesions has no interval (`comparison.recall_by_class`).
    """
    recalls = comparison.recall_by_class(readings, cases, seed, n_resamples)
    images = cases[cases["image_id"].isin(readings["image_id"])].groupby("dx")
    return pd.DataFrame(
        {"dx": dx, "images": len(images.get_group(dx)), "lesions": images.get_group(dx)["lesion_id"].nunique()}
        | {arm: _recall(*recall) for arm, recall in by_arm.items()}
        for dx, by_arm in sorted(recalls.items())
    )


def findings(of_arms: Replicates, differences: pd.DataFrame, test: pd.DataFrame, base: str) -> list[str]:
    """The results of the primary score as sentences.

    test: the rows of cases that were read. base: what the generator's base was trained on (`outside.base_data`).
    """
    summaries = {arm: comparison.summary(of_arm[PRIMARY]) for arm, of_arm in of_arms.items()}
    lines = [
        f"Mean {NAMES[PRIMARY]} (a guess gives {1 / test['dx'].nunique():.3f}): "
        + "; ".join(f"{arm} {interval(*summary)}" for arm, summary in summaries.items())
        + "."
    ]
    primary = differences[differences["score"] == PRIMARY]
    lines += [_difference(row) for row in primary.itertuples()]
    if len(primary):
        lines.append(
            f"These comparisons detect true differences from about {100 * primary['detectable'].min():.1f} to "
            f"{100 * primary['detectable'].max():.1f} points on, by comparison (power 80 %, at the first step of "
            f"Holm's correction, p ≤ {multiplicity.LEVEL:g} / {len(primary)}); smaller ones cannot be told from none "
            "with these lesions and seeds."
        )
    arm = next(iter(of_arms))
    error, spread = 100 * comparison.standard_error(of_arms, arm), 100 * of_arms[arm][PRIMARY][:, 0].std(ddof=1)
    lines.append(
        f"How much the result of one training of {arm} varies by chance: the choice of {test['lesion_id'].nunique():,} "
        f"test lesions has a standard error of {error:.1f} points, the training seed one of {spread:.1f}. "
        f"Without pairing, two trainings on two such "
        f"test sets differ by up to {1.96 * 2**0.5 * (error**2 + spread**2) ** 0.5:.1f} points (95 %)."
    )
    return [*lines, base]


def arms_figure(of_arms: Replicates) -> Figure:
    """One panel per score: rings are seeds, the dot their mean, the bar its 95 % interval."""
    size = (figures.TEXT_WIDTH, 0.6 + 0.3 * len(of_arms))
    figure, axes = plt.subplots(1, len(scores.SCORES), figsize=size, sharey=True)
    for axis, score in zip(axes, scores.SCORES, strict=True):
        of_seeds = pd.DataFrame({arm: of_arm[score][:, 0] for arm, of_arm in of_arms.items()}).melt()
        rings = {"size": 3, "facecolors": "none", "edgecolor": "0.4", "linewidth": 0.7}
        figures.strip(axis, of_seeds, x="value", y="variable", spread=0.25, **rings)
        summaries = np.array([comparison.summary(of_arm[score]) for of_arm in of_arms.values()])
        figures.forest(axis, list(of_arms), {"mean": summaries})
        axis.set(title=NAMES[score], xlabel="", ylabel="", xlim=(summaries.min() - 0.01, summaries.max() + 0.01))
        axis.locator_params(axis="x", nbins=3)
        axis.tick_params(axis="y", length=0)
    return figure


def confusion_figure(readings: pd.DataFrame, cases: pd.DataFrame) -> Figure:
    """One confusion matrix per arm, its seeds added up: percent of each true class."""
    counts = {
        arm: sum(confusion_matrix(part["dx"], part["dx_read"], labels=DX) for part in of_seeds)
        for arm, of_seeds in comparison.by_arm(readings, cases)
    }
    return figures.confusions(counts, DX)


def _recall(estimate: float, low: float, high: float) -> str:
    return f"{estimate:.2f} ({TOO_SMALL})" if np.isnan(low) else interval(estimate, low, high, digits=2)


def _points(difference: float, low: float, high: float) -> str:
    if np.isnan(difference):
        return TOO_SMALL
    return f"{difference:.1f}" if np.isnan(low) else interval(difference, low, high, digits=1)


def _verdict(row: tuple) -> str:
    """What is announced of a row of `comparison.paired`."""
    if row.announced:
        return "higher" if row.difference > 0 else "lower"
    if row.p_holm <= multiplicity.LEVEL:
        return "no difference is shown, since the training seeds disagree in sign"
    return "no difference is shown"


def _difference(row: tuple) -> str:
    verdict = "**lower**" if (verdict := _verdict(row)) == "lower" else verdict
    return (
        f"{row.first} − {row.second}: {100 * row.difference:+.1f} points "
        f"[{100 * row.low:+.1f}, {100 * row.high:+.1f}], single seeds {100 * row.lowest:+.1f} to "
        f"{100 * row.highest:+.1f} ({row.agreeing} of {row.n_seeds} of the same sign), Holm p = {row.p_holm:.3f}: "
        f"{verdict}."
    )
