"""What the arms were trained on, as the paper shows it: images shown, rounds of a curriculum, the guidance that trains
best."""

from collections.abc import Hashable, Iterable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.classify import comparison
from p2d_lib.classify.comparison import PRIMARY, Replicates
from p2d_lib.classify.image_sets import ADAPTER, ImageSets
from p2d_lib.classify.report import NAMES
from p2d_lib.instruments import intervals, multiplicity, scores
from p2d_lib.report import figures
from p2d_lib.report.tables import interval
from p2d_lib.vocabulary import DX


def shown_table(images: ImageSets, shown: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """How many images each arm is shown, and how often each: of the train split and of the synthetic ones.

    shown: rows of the images by arm, (steps, batch_size) each (`protocol.shown`). "real": images of the train split
    that are shown at least once, of all; "times": how often each of all is shown, least to most. "synthetic": distinct
    synthetic images.
    """
    train, rows = images.rows("train"), []
    for arm, of_arm in shown.items():
        times = np.bincount(of_arm.ravel(), minlength=len(images.table))
        of_train, others = times[train], times[(images.table["set"] == "synthetic").to_numpy()]
        names = {"arm": arm, "real": f"{(of_train > 0).sum():,} of {len(train):,}"}
        row = names | {"times": _range(of_train)} | {"synthetic": f"{(others > 0).sum():,}"}
        rows.append(row | {"times each": _range(others[others > 0])})
    return pd.DataFrame(rows)


def rounds_table(rounds: pd.DataFrame) -> pd.DataFrame:
    """The artefact "curriculum" as it is printed: one row per round and class, means over training seeds."""
    means = rounds.groupby(["arm", "round", "dx"])[["macro_f1", "n", "error", "sampled", "refused"]].mean()
    means = means.reindex(pd.Index(DX, name="dx"), level="dx").reset_index()
    names = {"macro_f1": "macro-F1 on val before", "n": "val images", "error": "error on val"}
    return means.rename(columns=names | {"sampled": "new images", "refused": "refused as copies"})


def guidance_table(of_arms: Mapping[float, dict[str, np.ndarray]], reference: float) -> pd.DataFrame:
    """One row per guidance scale: each score on val with its 95 % interval over lesions and seeds.

    of_arms: `comparison.replicates` by scale. The last column is the paired difference of the primary score from the
    scale `reference`, in points.
    """
    cells = on_val(of_arms, reference, f"− guidance {reference:g} (points)")
    return pd.DataFrame([{"guidance": f"{scale:g}"} | of_scale for scale, of_scale in cells.items()])


def on_val(of_trainings: Mapping, reference: Hashable, column: str) -> dict[Hashable, dict[str, str]]:
    """The cells of each training: its scores with their intervals and, in `column`, the paired difference of the
    primary score from `reference`, in points. of_trainings: `comparison.replicates` by what is varied."""
    cells = {}
    for key, of_training in of_trainings.items():
        difference = intervals.compare(of_training[PRIMARY], of_trainings[reference][PRIMARY])
        cells[key] = {NAMES[score]: interval(*comparison.summary(of_training[score])) for score in scores.SCORES}
        cells[key][column] = "" if key == reference else _points(difference)
    return cells


def guidance_reading(seeds: int, n_val: int) -> str:
    """What the marks of `guidance_figure` are, as the end of its caption."""
    return (
        " Dot: mean over seeds; bar: its interval over lesions and seeds, wide where seeds are few; rings: the "
        f"{seeds} seeds; {n_val} val images."
    )


def guidance_figure(of_arms: Mapping[float, dict[str, np.ndarray]]) -> Figure:
    """Balanced accuracy and macro-F1 on val over guidance: the mean with its 95 % interval, rings are seeds."""
    figure, axes = plt.subplots(1, 2, figsize=(figures.TEXT_WIDTH, 2.2))
    scales = np.array(list(of_arms))
    for axis, score in zip(axes, (PRIMARY, "macro_f1"), strict=True):
        mean, low, high = np.array([comparison.summary(of_arm[score]) for of_arm in of_arms.values()]).T
        axis.errorbar(scales, mean, (mean - low, high - mean), fmt="o", markersize=3.5, linewidth=1)
        for scale, of_arm in of_arms.items():
            of_seeds = of_arm[score][:, 0]
            axis.scatter([scale] * len(of_seeds), of_seeds, s=12, facecolors="none", edgecolors="0.4", linewidths=0.7)
        axis.set(xlabel="guidance scale", ylabel=f"{NAMES[score]} on val")
    return figure


def guidance_finding(of_arms: Mapping[float, dict[str, np.ndarray]], reference: float) -> str:
    """One sentence: the scale that reads best on val, and whether it is shown to differ from the reference."""
    best, difference, p = comparison.best_against(of_arms, reference)
    if best == reference:
        return (
            f"Guidance: of {_list(of_arms)}, the scale {reference:g} has the highest {NAMES[PRIMARY]} on val "
            "(04's scale or the nearest to it; not tested)."
        )
    return (
        f"Guidance: of {_list(of_arms)}, the scale {best:g} has the highest {NAMES[PRIMARY]} on val, "
        f"{lead(difference, f'{reference:g}', p)}."
    )


def lead(difference: tuple, reference: str, p: float) -> str:
    """By how much the best of several trainings reads better than the reference, and whether that is shown.

    difference, p: of `comparison.best_against`.
    """
    verdict = "the two differ" if p <= multiplicity.LEVEL else "no difference is shown"
    return f"{_points(difference)} points above {reference}, Holm p = {p:.3f}: {verdict}"


def _points(difference: tuple) -> str:
    return interval(*(100 * value for value in difference[:3]), digits=1)


def nearest(scales: Iterable[float], synthetic: pd.DataFrame) -> float:
    """The scale that lies nearest to the guidance of 04's adapter images."""
    of_04 = float(synthetic.loc[synthetic["generator"] == ADAPTER, "guidance"].iloc[0])
    return min(scales, key=lambda scale: abs(scale - of_04))


def by_scale(of_arms: Replicates, names: Mapping[float, str]) -> dict[float, dict[str, np.ndarray]]:
    """Replicates by guidance scale; names: the arm of each scale."""
    return {scale: of_arms[name] for scale, name in names.items()}


def _list(scales: Mapping[float, object]) -> str:
    return ", ".join(f"{scale:g}" for scale in scales)


def _range(times: np.ndarray) -> str:
    return f"{times.min()} to {times.max()}" if len(times) else "–"
