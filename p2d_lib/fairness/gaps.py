"""Gaps between groups: the best group minus the worst, how sure they are, and whether synthetic images change them."""

import numpy as np
import pandas as pd

from p2d_lib.fairness.groups import LESION_TYPE, align, attributes, group_replicates, resample
from p2d_lib.fairness.metrics import is_right, strata
from p2d_lib.instruments import intervals, multiplicity
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

ANNOUNCED = ("balanced accuracy", "malignant sensitivity")  # of groups of patients; between classes it is accuracy
CHANGE = "change"  # stands for an arm in rows that hold the second arm's gap minus the first arm's
INDEPENDENT_IN_PHANTOM = ("sex", "age", "site")  # within a class the phantom chooses them without regard to the picture
COLUMNS = ("attribute", "metric", "arm", "best", "worst", "gap", "low", "high", "ratio", "detectable", "p", "p_holm")


def gaps(
    readings: pd.DataFrame,
    cases: pd.DataFrame,
    min_n: int,
    arms: tuple[str, str] = ("real", "mixed"),
    metrics: tuple[str, ...] = ANNOUNCED,
    n_resamples: int = 2000,
    n_permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Best group minus worst: attribute, metric, arm, best, worst (groups), gap, low, high (-1..1), ratio,
    detectable, p, p_holm.

    readings, cases, min_n: as in `groups.by_group`; too small groups take no part. Three rows for each attribute and
    metric: the two arms, and CHANGE, how much wider the gap is in the second arm. LESION_TYPE attributes have accuracy
    only. Intervals resample lesions and seeds and hold the two groups fixed, so having picked the extremes moves them
    away from 0: p decides. ratio: worst group over best (0..1), NaN for CHANGE. detectable:
    `intervals.minimal_detectable`, NaN of more than two groups, whose extremes it would take as named beforehand.

    p of an arm: the share of n_permutations in which the largest difference between any two groups is at least as large
    as the observed one, when group labels are permuted among the lesions of one class. So the choice of the extremes is
    accounted for, and classes of unequal difficulty that are unequally frequent in the groups are not mistaken for a
    gap, whatever the metric. LESION_TYPE attributes are made of classes: their labels are permuted among all lesions. p
    of CHANGE: bootstrap. p_holm: Holm's correction over all rows of the table, which are announced together. NaN where
    fewer than two groups are large enough. Raises ValueError when an arm has no readings.
    """
    if lacking := [arm for arm in arms if arm not in set(readings["arm"])]:
        raise ValueError(f"no readings of arm {lacking[0]!r}; run 06_classify with it among its arms")
    dx_read, rows = align(readings[readings["arm"].isin(arms)], cases)
    weights = resample(rows, n_resamples, seed)
    table = []
    for attribute, group in attributes(rows).items():
        of_attribute = ("accuracy",) if attribute in LESION_TYPE else metrics
        replicates = group_replicates(dx_read, rows, group, weights, min_n, of_attribute)
        for metric in of_attribute:
            of_groups = {name: by_arm for (name, of), by_arm in replicates.items() if of == metric}
            compared = [{"arm": arm} for arm in (*arms, CHANGE)]
            if len(of_groups) > 1:
                large_enough = group.where(group.isin(list(of_groups)))
                p = permutation_p(dx_read, rows, large_enough, metric, n_permutations, seed)
                compared = _compared(of_groups, arms, p)
            table += [{"attribute": attribute, "metric": metric, **row} for row in compared]
    result = pd.DataFrame(table, columns=COLUMNS[:-1])
    return result.assign(p_holm=multiplicity.holm(result["p"]))


def true_gaps(cases: pd.DataFrame) -> dict[str, float]:
    """The true gap within a class by attribute, where it is known: 0 for INDEPENDENT_IN_PHANTOM on phantom cases."""
    return dict.fromkeys(INDEPENDENT_IN_PHANTOM, 0.0) if (cases["dataset"] == "phantom").all() else {}


def permutation_p(
    dx_read: pd.DataFrame, rows: pd.DataFrame, group: pd.Series, metric: str, n_permutations: int, seed: int
) -> dict[str, float]:
    """{arm: p} of the largest difference between groups, labels permuted within each class (see `gaps`).

    dx_read, rows: of `groups.align`. group: of each row; a row without one takes no part.
    """
    lesions, by_arm = _lesions(dx_read, rows, group, metric)
    rng = np.random.default_rng(derive(seed, "fairness", "permute", group.name, metric))
    names = sorted(lesions["group"].unique())
    labels = np.tile(lesions["group"].map(names.index).to_numpy(np.int8), (1 + n_permutations, 1))
    for _, places in lesions.groupby("exchangeable").indices.items():
        labels[1:, places] = rng.permuted(labels[1:, places], axis=1)
    metrics_of_groups = np.zeros((len(names), 1 + n_permutations, len(by_arm)))
    for k in range(len(names)):
        present = 0
        for _, places in lesions.groupby("stratum").indices.items():
            inside = (labels[:, places] == k).astype(float)
            counts = inside @ lesions[["n", *by_arm]].to_numpy(float)[places]  # images, right ones of each arm
            metrics_of_groups[k] += counts[:, 1:] / np.maximum(counts[:, :1], 1)
            present = present + (counts[:, :1] > 0)
        metrics_of_groups[k] /= np.maximum(present, 1)
    gap = np.ptp(metrics_of_groups, axis=0)
    p = (1 + (gap[1:] >= gap[0] - 1e-12).sum(0)) / (1 + n_permutations)
    return dict(zip(by_arm, map(float, p), strict=True))


def _lesions(
    dx_read: pd.DataFrame, rows: pd.DataFrame, group: pd.Series, metric: str
) -> tuple[pd.DataFrame, list[str]]:
    """One row per lesion (and class) counted by a metric: group, exchangeable, stratum, n images, right ones per arm.

    exchangeable: lesions with the same value may swap their groups. Also the names of the arms.
    """
    dx = rows["dx"].to_numpy(object)
    right = pd.DataFrame(is_right(metric, dx, dx_read.to_numpy(object)).astype(float), columns=dx_read.columns)
    by_arm = right.T.groupby(level="arm", sort=False).mean().T
    classes = np.zeros(len(dx), int) if group.name in LESION_TYPE else np.array([DX.index(name) for name in dx])
    images = pd.DataFrame(
        {
            "lesion": rows["lesion_id"].to_numpy(),
            "exchangeable": classes,
            "stratum": strata(metric, dx),
            "group": group.to_numpy(object),
            "n": 1,
        }
    ).join(by_arm)
    counted = images[(images["stratum"] >= 0) & group.notna().to_numpy()]
    sums = counted.groupby(["exchangeable", "stratum", "lesion"], as_index=False).agg(
        {"group": "first", "n": "sum", **dict.fromkeys(by_arm, "sum")}
    )
    return sums, list(by_arm)


def _compared(of_groups: dict, arms: tuple[str, str], p: dict[str, float]) -> list[dict]:
    """The two arms' gaps and their change, as rows of `gaps`. of_groups: {group: {arm: replicates}}."""
    detectable = intervals.minimal_detectable if len(of_groups) == 2 else lambda *_: np.nan
    rows, extremes = [], {}
    for arm in arms:
        means = {name: by_arm[arm][:, 0].mean() for name, by_arm in of_groups.items()}
        best, worst = max(means, key=means.get), min(means, key=means.get)
        extremes[arm] = of_groups[best][arm], of_groups[worst][arm]
        gap, low, high, _ = intervals.compare(*extremes[arm])
        low, high = np.clip((low, high), -1, 1)  # few seeds spread the replicates beyond what a difference can be
        ratio = means[worst] / means[best] if means[best] else np.nan
        row = {"arm": arm, "best": best, "worst": worst, "gap": gap, "low": low, "high": high, "ratio": ratio}
        rows.append(row | {"detectable": detectable(*extremes[arm]), "p": p[arm]})
    first, second = (best - worst for best, worst in (extremes[arm] for arm in arms))
    gap, low, high, p_change = intervals.compare(second, first)
    low, high = np.clip((low, high), -2, 2)
    change = {"arm": CHANGE, "gap": gap, "low": low, "high": high, "p": p_change}
    return [*rows, change | {"detectable": detectable(second, first)}]
