"""Readings by group of patients and of lesions: how well each group is read, and how sure that is.

Skin type is an attribute only where people judged it or the phantom knows it: tones estimated from pixels (ITA)
disagree between methods and are no group label.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame

from p2d_lib.fairness.metrics import FOR_METRIC_FRAME, METRICS, is_right, mean_share, strata
from p2d_lib.instruments import intervals
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX_NAMES, MALIGNANT

AGE_BANDS = {"under 30": 0, "30–44": 30, "45–59": 45, "60–74": 60, "75 and over": 75}  # from this year on
REGIONS = {
    **dict.fromkeys(("ear", "face", "neck", "scalp"), "head and neck"),
    **dict.fromkeys(("abdomen", "back", "chest", "trunk"), "trunk"),
    **dict.fromkeys(("upper extremity", "hand"), "upper extremity"),
    **dict.fromkeys(("lower extremity", "foot"), "lower extremity"),
    **{site: site for site in ("acral", "genital")},
}
SKIN_TYPES = {1: "I–II", 2: "I–II", 3: "III–IV", 4: "III–IV", 5: "V–VI", 6: "V–VI"}
LESION_TYPE = ("malignancy", "lesion type")  # attributes made of classes: within a group only accuracy is meaningful


def attributes(cases: pd.DataFrame) -> pd.DataFrame:
    """The group of each image (index image_id): a column for sex, age, site, malignancy and lesion type, one for skin
    type where people judged it or the phantom knows it, one for the source dataset where there are several.

    Ordered categories; NaN where sex, age, site or skin type is unknown: such an image is in no group of that
    attribute. An attribute that is known of no image is left out.
    """
    malignant = np.where(cases["dx"].isin(MALIGNANT), "malignant", "benign")
    site = cases["localization"].replace(REGIONS).where(cases["localization"] != "unknown")
    groups = {
        "sex": _ordered(cases["sex"].where(cases["sex"] != "unknown"), ["female", "male"]),
        "age": pd.cut(cases["age"].to_numpy(), [*AGE_BANDS.values(), np.inf], right=False, labels=list(AGE_BANDS)),
        "site": _ordered(site, REGIONS.values()),
    }
    for column in ("fitzpatrick", "true_fitzpatrick"):  # judged by people, known of the phantom; never from pixels
        if column in cases:
            groups["skin type"] = _ordered(cases[column].map(SKIN_TYPES), SKIN_TYPES.values())
    if cases["dataset"].nunique() > 1:
        groups["source"] = _ordered(cases["dataset"], ())
    groups["malignancy"] = _ordered(malignant, ["benign", "malignant"])
    groups["lesion type"] = _ordered(cases["dx"].map(DX_NAMES), DX_NAMES.values())
    return pd.DataFrame(groups, index=pd.Index(cases["image_id"])).dropna(axis="columns", how="all")


def by_group(
    readings: pd.DataFrame, cases: pd.DataFrame, min_n: int, n_resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """One row per attribute, group, metric and arm: n_images, n_lesions, n_counted, estimate, low, high (0..1).

    readings: schemas.READINGS of one reader per arm and seed, all of the same images. cases: their rows at least.
    Estimates are fairlearn's MetricFrame, averaged over training seeds; intervals resample lesions and seeds. n_counted
    is the number of lesions in the metric's denominator: with fewer than min_n the metric is NaN. Balanced accuracy is
    over the classes that occur in the group, and in a resample over those that occur there; with classes of one to
    three lesions its interval covers the truth in 90 % of the cases, from eight on in 95 %. Raises ValueError when
    readings lack an image, a case or a seed.
    """
    dx_read, rows = align(readings, cases)
    weights = resample(rows, n_resamples, seed)
    table = []
    for attribute, group in attributes(rows).items():
        estimates = {arm: _estimates(rows["dx"], dx_read[arm], group) for arm in dx_read.columns.unique("arm")}
        replicates = group_replicates(dx_read, rows, group, weights, min_n)
        for name in group.cat.remove_unused_categories().cat.categories:
            inside = (group == name).to_numpy()
            size = {"n_images": int(inside.sum()), "n_lesions": rows["lesion_id"][inside].nunique()}
            for metric in METRICS:
                counted = inside & (strata(metric, rows["dx"].to_numpy(object)) >= 0)
                size["n_counted"] = rows["lesion_id"][counted].nunique()
                for arm in estimates:
                    row = {"attribute": attribute, "group": name, "metric": metric, "arm": arm, **size}
                    if of_group := replicates.get((name, metric)):
                        _, low, high = intervals.summarise(of_group[arm], bounds=(0, 1))
                        row |= {"estimate": estimates[arm].loc[name, metric], "low": low, "high": high}
                    table.append(row)
    columns = ["attribute", "group", "metric", "arm", "n_images", "n_lesions", "n_counted"]
    return pd.DataFrame(table, columns=[*columns, "estimate", "low", "high"])


def compared(readings: pd.DataFrame) -> tuple[str, str]:
    """The two arms whose gaps are compared: without and with synthetic images.

    They are "real" and "mixed" where there are readings of them, else the first and the last arm. Raises ValueError
    with fewer than two arms.
    """
    arms = list(readings["arm"].unique())
    if len(arms) < 2:
        raise ValueError(f"there are readings of arm {arms[0]!r} only: run 06_classify with two arms at least")
    first = "real" if "real" in arms else arms[0]
    return first, "mixed" if "mixed" in arms else next(arm for arm in reversed(arms) if arm != first)


def align(readings: pd.DataFrame, cases: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Diagnoses named, a row per image and a column per (arm, seed), and the images' cases in the same order.

    Raises ValueError without readings, when an image is read twice, when an arm lacks an image or a seed, or when an
    image is no case.
    """
    if readings.empty:
        raise ValueError("there are no readings of test images: run 06_classify again")
    if twice := int(readings.duplicated(["image_id", "arm", "seed"]).sum()):
        raise ValueError(f"{twice} images are read twice with one arm and seed; give the readings of one reader each")
    dx_read = readings.pivot(index="image_id", columns=["arm", "seed"], values="dx_read")
    dx_read = dx_read.sort_index(axis=1)[list(readings["arm"].unique())]
    if (lacking := dx_read.isna().sum()).any():
        arm, seed = lacking.idxmax()
        raise ValueError(
            f"arm {arm!r}, seed {seed} lacks {lacking.max()} of the {len(dx_read)} images that others read"
        )
    seeds = {arm: set(dx_read[arm].columns) for arm in dx_read.columns.unique("arm")}
    if len({frozenset(of_arm) for of_arm in seeds.values()}) > 1:
        raise ValueError(f"arms have different seeds: {seeds}; they are compared seed by seed")
    if unknown := set(dx_read.index) - set(cases["image_id"]):
        raise ValueError(f"{len(unknown)} images read are no cases, the first is {min(unknown)!r}")
    return dx_read, cases.set_index("image_id").loc[dx_read.index].reset_index()


def resample(rows: pd.DataFrame, n_resamples: int, seed: int) -> np.ndarray:
    """Bootstrap weights of the rows, whole lesions resampled: float (1 + n_resamples, n)."""
    return intervals.resample(rows["lesion_id"], n_resamples, seed=derive(seed, "fairness", "resample")).astype(float)


def group_replicates(
    dx_read: pd.DataFrame,
    rows: pd.DataFrame,
    group: pd.Series,
    weights: np.ndarray,
    min_n: int,
    metrics: Sequence[str] = METRICS,
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Replicates of each metric of each group: {(group, metric): {arm: (n_seeds, 1 + B)}}.

    dx_read, rows: of `align`. Groups with fewer than min_n lesions in the metric's denominator are left out.
    """
    result = {}
    dx = rows["dx"].to_numpy(object)
    for metric in metrics:
        right, of_stratum = is_right(metric, dx, dx_read.to_numpy(object)), strata(metric, dx)
        for name in group.cat.categories:
            inside = np.flatnonzero((group == name).to_numpy() & (of_stratum >= 0))
            if rows["lesion_id"].iloc[inside].nunique() < min_n:
                continue
            values = mean_share(weights[:, inside], right[inside].astype(float), of_stratum[inside]).T
            result[name, metric] = {
                arm: values[dx_read.columns.get_level_values("arm") == arm] for arm in dx_read.columns.unique("arm")
            }
    return result


def _ordered(values: Sequence, order: Sequence[str]) -> pd.Categorical:
    values = pd.Series(np.asarray(values, object))
    order = list(dict.fromkeys(order))
    order += sorted(set(values.dropna()) - set(order))  # a site that the vocabulary does not know
    return pd.Categorical(values, order, ordered=True)


def _estimates(dx: pd.Series, dx_read: pd.DataFrame, group: pd.Series) -> pd.DataFrame:
    """Metrics (columns) by group (rows), averaged over the seeds that are the columns of dx_read."""
    known = group.notna().to_numpy()
    frames = [
        MetricFrame(
            metrics=dict(FOR_METRIC_FRAME), y_true=dx[known].to_numpy(), y_pred=dx_read[seed][known].to_numpy(),
            sensitive_features=group[known].astype(str).to_numpy(),
        ).by_group
        for seed in dx_read
    ]  # fmt: skip
    return sum(frame.astype(float) for frame in frames) / len(frames)
