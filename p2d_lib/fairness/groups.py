"""Readings by group of patient and lesion: how well, how sure, how far apart, and whether synthetic data change that.

Every metric here is a mean over strata (one, or the seven classes) of the share of right readings, so intervals and
permutations of all metrics are the same few products of matrices. Skin tone is a group only where it is known (the
phantom's); tones estimated from pixels (ITA) disagree between methods and are no group label.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame

from p2d_lib.instruments import intervals, multiplicity
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX, DX_NAMES, MALIGNANT

METRICS = ("accuracy", "balanced accuracy", "malignant sensitivity", "malignant specificity")
AGE_BANDS = {"under 30": 0, "30–44": 30, "45–59": 45, "60–74": 60, "75 and over": 75}  # from this year on
REGIONS = {
    **dict.fromkeys(("ear", "face", "neck", "scalp"), "head and neck"),
    **dict.fromkeys(("abdomen", "back", "chest", "trunk"), "trunk"),
    **dict.fromkeys(("upper extremity", "hand"), "upper extremity"),
    **dict.fromkeys(("lower extremity", "foot"), "lower extremity"),
    **{site: site for site in ("acral", "genital")},
}
SKIN_TYPES = {1: "I–II", 2: "I–II", 3: "III–IV", 4: "III–IV", 5: "V–VI", 6: "V–VI"}
LESION_TYPE = ("malignancy", "lesion type")  # classes, not patients: within them only accuracy says something
CHANGE = "change"  # the arm of `gaps` that holds second minus first


def attributes(cases: pd.DataFrame) -> pd.DataFrame:
    """The group of each image (index image_id) by sex, age, site, malignancy and lesion type, and by skin type where
    people judged it or the phantom drew it.

    Ordered categories; NaN where sex, age, site or skin type is unknown: such an image is in no group of that
    attribute.
    """
    malignant = np.where(cases["dx"].isin(MALIGNANT), "malignant", "benign")
    site = cases["localization"].replace(REGIONS).where(cases["localization"] != "unknown")
    groups = {
        "sex": _ordered(cases["sex"].where(cases["sex"] != "unknown"), ["female", "male"]),
        "age": pd.cut(cases["age"].to_numpy(), [*AGE_BANDS.values(), np.inf], right=False, labels=list(AGE_BANDS)),
        "site": _ordered(site, REGIONS.values()),
    }
    for column in ("fitzpatrick", "true_fitzpatrick"):  # judged by people, drawn by the phantom; never read from pixels
        if column in cases:
            groups["skin type"] = _ordered(cases[column].map(SKIN_TYPES), SKIN_TYPES.values())
    groups["malignancy"] = _ordered(malignant, ["benign", "malignant"])
    groups["lesion type"] = _ordered(cases["dx"].map(DX_NAMES), DX_NAMES.values())
    return pd.DataFrame(groups, index=pd.Index(cases["image_id"]))


def by_group(
    readings: pd.DataFrame, cases: pd.DataFrame, min_n: int, n_resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """One row per attribute, group, metric and arm: n_images, n_lesions, n_counted, estimate, low, high (0..1).

    readings: schemas.READINGS of one reader per arm and seed, all of the same images. cases: their rows at least.
    Estimates are fairlearn's MetricFrame, averaged over training seeds; intervals resample lesions and seeds. n_counted
    is the lesions in the metric's denominator: with fewer than min_n the metric is NaN. Balanced accuracy is over the
    classes that occur in the group. Raises ValueError when readings lack an image, a case or a seed.
    """
    read, rows = _aligned(readings, cases)
    weights = intervals.resample(rows["lesion_id"], n_resamples, derive(seed, "fairness", "resample")).astype(float)
    table = []
    for attribute, group in attributes(rows).items():
        estimates = {arm: _estimates(rows["dx"], read[arm], group) for arm in read.columns.unique("arm")}
        draws = _draws(read, rows, group, weights, min_n)
        for name in group.cat.remove_unused_categories().cat.categories:
            inside = (group == name).to_numpy()
            size = {"n_images": int(inside.sum()), "n_lesions": rows["lesion_id"][inside].nunique()}
            for metric in METRICS:
                counted = inside & (_strata(metric, rows["dx"].to_numpy(object)) >= 0)
                size["n_counted"] = rows["lesion_id"][counted].nunique()
                for arm in estimates:
                    at = {"attribute": attribute, "group": name, "metric": metric, "arm": arm, **size}
                    if drawn := draws.get((name, metric)):
                        _, low, high = intervals.summarise(drawn[arm])
                        at |= {"estimate": estimates[arm].loc[name, metric], "low": max(low, 0), "high": min(high, 1)}
                    table.append(at)
    columns = ["attribute", "group", "metric", "arm", "n_images", "n_lesions", "n_counted"]
    return pd.DataFrame(table, columns=[*columns, "estimate", "low", "high"])


def compared(readings: pd.DataFrame) -> tuple[str, str]:
    """The arms that say what synthetic images change: "real" and "mixed", else the first and the last there are."""
    there = list(readings["arm"].unique())
    if len(there) < 2:
        raise ValueError(f"there are readings of arm {there[0]!r} only: run 06_classify with two arms at least")
    first = "real" if "real" in there else there[0]
    return first, "mixed" if "mixed" in there else next(arm for arm in reversed(there) if arm != first)


def gaps(
    readings: pd.DataFrame,
    cases: pd.DataFrame,
    min_n: int,
    arms: tuple[str, str] = ("real", "mixed"),
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Best group minus worst: attribute, metric, arm, largest, smallest (groups), gap, low, high, p, p_holm.

    Groups as in `by_group`; too small ones take no part. Three rows each: the two arms, and "change": how much wider
    the gap is in the second arm. Intervals resample lesions and seeds, the groups held fixed. p of an arm: groups
    permuted among the lesions of a class (malignant or benign ones, all; as the metric counts), the largest difference
    anew each time, so that having picked the extremes costs what it should, and case mix is not mistaken for a gap;
    p of the change: bootstrap, conservative where both gaps are small. p_holm: over the attributes of an arm and
    metric. NaN where fewer than two groups are large enough.
    """
    read, rows = _aligned(readings[readings["arm"].isin(arms)], cases)
    if lacking := [arm for arm in arms if arm not in read.columns.unique("arm")]:
        raise ValueError(f"no readings of arm {lacking[0]!r}; run 06_classify with it among its arms")
    weights = intervals.resample(rows["lesion_id"], n_resamples, derive(seed, "fairness", "resample")).astype(float)
    table = []
    for attribute, group in attributes(rows).items():
        draws = _draws(read, rows, group, weights, min_n)
        for metric in METRICS[:1] if attribute in LESION_TYPE else METRICS:
            able = {name: drawn for (name, of), drawn in draws.items() if of == metric}
            if len(able) < 2:
                table += [{"attribute": attribute, "metric": metric, "arm": arm} for arm in (*arms, CHANGE)]
                continue
            p = _permuted(read, rows, group.where(group.isin(list(able))), metric, n_resamples, seed)
            ends = {}
            for arm in arms:
                means = {name: drawn[arm][:, 0].mean() for name, drawn in able.items()}
                largest, smallest = max(means, key=means.get), min(means, key=means.get)
                ends[arm] = able[largest][arm], able[smallest][arm]
                gap, low, high, _ = intervals.compare(*ends[arm])
                at = {"attribute": attribute, "metric": metric, "arm": arm, "largest": largest, "smallest": smallest}
                table.append({**at, "gap": gap, "low": low, "high": high, "p": p[arm]})
            change = intervals.compare(ends[arms[1]][0] - ends[arms[1]][1], ends[arms[0]][0] - ends[arms[0]][1])
            at = {"attribute": attribute, "metric": metric, "arm": CHANGE}
            table.append({**at, **dict(zip(("gap", "low", "high", "p"), change, strict=True))})
    columns = ["attribute", "metric", "arm", "largest", "smallest", "gap", "low", "high", "p"]
    result = pd.DataFrame(table, columns=columns)
    result["p_holm"] = result.groupby(["metric", "arm"])["p"].transform(lambda p: multiplicity.holm(p))
    return result


def _ordered(values: Sequence, order: Sequence[str]) -> pd.Categorical:
    values = pd.Series(np.asarray(values, object))
    order = list(dict.fromkeys(order))
    order += sorted(set(values.dropna()) - set(order))  # a site that the vocabulary does not know
    return pd.Categorical(values, order, ordered=True)


def _aligned(readings: pd.DataFrame, cases: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What was read, a row per image and a column per (arm, seed), and the images' cases in the same order."""
    if twice := int(readings.duplicated(["image_id", "arm", "seed"]).sum()):
        raise ValueError(f"{twice} images are read twice with one arm and seed; give the readings of one reader each")
    read = readings.pivot(index="image_id", columns=["arm", "seed"], values="dx_read")
    read = read.sort_index(axis=1)[list(readings["arm"].unique())]
    if (lacking := read.isna().sum()).any():
        arm, seed = lacking.idxmax()
        raise ValueError(f"arm {arm!r}, seed {seed} lacks {lacking.max()} of the {len(read)} images that others read")
    seeds = {arm: set(read[arm].columns) for arm in read.columns.unique("arm")}
    if len({frozenset(of_arm) for of_arm in seeds.values()}) > 1:
        raise ValueError(f"arms have different seeds: {seeds}; they are compared seed by seed")
    if unknown := set(read.index) - set(cases["image_id"]):
        raise ValueError(f"{len(unknown)} images read are no cases, the first is {min(unknown)!r}")
    return read, cases.set_index("image_id").loc[read.index].reset_index()


def _strata(metric: str, dx: np.ndarray) -> np.ndarray:
    """The stratum of each row (n,) that a metric averages over, -1 where the row is not counted."""
    if metric == "balanced accuracy":
        return pd.Categorical(dx, categories=DX).codes
    if metric == "accuracy":
        return np.zeros(len(dx), int)
    return np.where(np.isin(dx, MALIGNANT) == (metric == "malignant sensitivity"), 0, -1)


def _right(metric: str, dx: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Which readings (n, k) a metric counts as right."""
    if metric.startswith("malignant"):
        return np.isin(read, MALIGNANT) == (metric == "malignant sensitivity")
    return read == dx[:, None]


def _draws(read: pd.DataFrame, rows: pd.DataFrame, group: pd.Series, weights: np.ndarray, min_n: int) -> dict:
    """Resampled metrics of the groups large enough: {(group, metric): {arm: (n_seeds, 1 + n_resamples)}}."""
    result = {}
    for metric in METRICS:
        dx = rows["dx"].to_numpy(object)
        right, strata = _right(metric, dx, read.to_numpy(object)), _strata(metric, dx)
        for name in group.cat.categories:
            inside = np.flatnonzero((group == name).to_numpy() & (strata >= 0))
            if rows["lesion_id"].iloc[inside].nunique() < min_n:
                continue
            values = _mean_share(weights[:, inside], right[inside].astype(float), strata[inside]).T
            result[name, metric] = {
                arm: values[read.columns.get_level_values("arm") == arm] for arm in read.columns.unique("arm")
            }
    return result


def _mean_share(weights: np.ndarray, right: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Weights (b, n), right (n, k), strata (n,) -> (b, k): share of right by weight, averaged over strata drawn."""
    total, drawn = 0, 0
    for stratum in np.unique(strata):
        rows = strata == stratum
        size = weights[:, rows].sum(1, keepdims=True)
        total = total + weights[:, rows] @ right[rows] / np.maximum(size, 1)
        drawn = drawn + (size > 0)
    with np.errstate(invalid="ignore"):
        return total / drawn


def _permuted(
    read: pd.DataFrame, rows: pd.DataFrame, group: pd.Series, metric: str, n: int, seed: int
) -> dict[str, float]:
    """Per arm, the share of n permutations of groups among a stratum's lesions with as large a gap as is seen."""
    dx = rows["dx"].to_numpy(object)
    right, strata = _right(metric, dx, read.to_numpy(object)), _strata(metric, dx)
    by_arm = pd.DataFrame(right.astype(float), columns=read.columns).T.groupby(level="arm", sort=False).mean().T
    counted = pd.DataFrame({"lesion": rows["lesion_id"], "stratum": strata, "group": group.to_numpy(object), "n": 1.0})
    counted = pd.concat([counted, by_arm], axis=1)[(strata >= 0) & group.notna().to_numpy()]
    lesions = counted.groupby(["stratum", "lesion"]).agg({"group": "first", "n": "sum", **dict.fromkeys(by_arm, "sum")})
    rng = np.random.default_rng(derive(seed, "fairness", "permute", group.name, metric))
    names = sorted(lesions["group"].unique())
    total = np.zeros((len(names), 1 + n, by_arm.shape[1]))
    drawn = np.zeros((len(names), 1, 1))
    for _, part in lesions.groupby(level="stratum"):
        labels = np.tile(part["group"].map(names.index).to_numpy(np.int8), (1 + n, 1))
        labels[1:] = rng.permuted(labels[1:], axis=1)
        images, right_images = part[["n"]].to_numpy(), part[list(by_arm)].to_numpy()
        for k in range(len(names)):
            inside = (labels == k).astype(float)
            size = inside @ images
            total[k] += inside @ right_images / np.maximum(size, 1)
            drawn[k] += size[0] > 0  # permuting keeps how many lesions of a stratum a group has
    gap = np.ptp(total / drawn, axis=0)
    p = (1 + (gap[1:] >= gap[0] - 1e-12).sum(0)) / (1 + n)
    return dict(zip(by_arm, map(float, p), strict=True))


def _estimates(dx: pd.Series, read: pd.DataFrame, group: pd.Series) -> pd.DataFrame:
    """Metrics (columns) by group (rows), averaged over the seeds that are the columns of read."""
    known = group.notna().to_numpy()
    frames = [
        MetricFrame(
            metrics=_FUNCTIONS, y_true=dx[known].to_numpy(), y_pred=read[seed][known].to_numpy(),
            sensitive_features=group[known].astype(str).to_numpy(),
        ).by_group
        for seed in read
    ]  # fmt: skip
    return sum(frame.astype(float) for frame in frames) / len(frames)


def _recall(dx: np.ndarray, read: np.ndarray, classes: Sequence[str]) -> float:
    """Share of the classes' images that are read as any of them."""
    inside = np.isin(dx, classes)
    return float(np.isin(read[inside], classes).mean()) if inside.any() else np.nan


_BENIGN = tuple(dx for dx in DX if dx not in MALIGNANT)
_FUNCTIONS = {  # in numpy: sklearn's checks of its input take most of the time on small groups
    "accuracy": lambda dx, read: float((dx == read).mean()),
    "balanced accuracy": lambda dx, read: float(np.mean([_recall(dx, read, [k]) for k in np.unique(dx)])),
    "malignant sensitivity": lambda dx, read: _recall(dx, read, MALIGNANT),
    "malignant specificity": lambda dx, read: _recall(dx, read, _BENIGN),
}
