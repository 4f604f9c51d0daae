"""Which images to sample: how many of each class, with prompts after real train cases, each with its own seed."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.choose import chosen, resample
from p2d_lib.words.render import PRESENT
from p2d_lib.words.wording import Wording, lesions

COLUMNS = ("image_id", "dx", "prompt", "prompted_by", *FEATURES, "seed", "generator")
MODES = ("balanced", "proportional", "random", "curriculum")
EVEN_SHARE = 0.5  # of a curriculum's images: spread evenly over the strata, whatever the errors are


def make(
    cases: pd.DataFrame,
    descriptions: pd.DataFrame,
    *,
    per_class: int,
    others_per_class: int,
    seed: int,
    others: Sequence[str] = ("base",),
    mode: str = "balanced",
    errors: pd.DataFrame | None = None,
    sampling: str = "empirical",
    wording: Wording | None = None,
    count: Callable[[str], int] | None = None,
) -> pd.DataFrame:
    """A plan of 7 x per_class images of the adapter, and of others_per_class of each class of each of the others.

    One row per image: image_id, dx, prompt, prompted_by (image_id of the train case whose description it follows), the
    vocabulary's 22 scores that are asked for, seed, generator. A score is NaN where the description does not know it or
    `wording` leaves the feature out of prompts.

    mode, errors: how many of each class, see `numbers`. A curriculum also asks more for the features that a class is
    misread with: its rows of `errors` (of `validation_errors`) are strata, and their `shares` say how many prompts come
    from the cases that show the feature; "" is the whole class.

    Prompts come from the valid descriptions of `train` cases of the class, as `choose.resample` samples them; "jitter"
    makes new ones with other scores, which `wording` words with `count` tokens. The others repeat prompt and seed of
    the first rows of "adapter", so that they pair. Row i of a class is the same whatever the numbers. Raises ValueError
    for a class without train descriptions.
    """
    train = cases.loc[cases["split"] == "train", ["image_id", "dx", "localization", "age", "sex"]]
    train, parts = train.merge(chosen(descriptions)[["image_id", "prompt", *FEATURES]]), []
    for dx, n in numbers(train["dx"], per_class, seed, mode, errors).items():
        of_class = _described(train, dx)
        its_errors = errors[errors["dx"] == dx] if mode == "curriculum" else None
        rows = _rows(of_class, max(n, others_per_class), sampling, derive(seed, "plan", dx), its_errors)
        if sampling == "jitter":
            rows["prompt"] = wording.prompts(lesions(rows, rows), count, seed, [f"{dx}{i}" for i in range(len(rows))])
        rows["seed"] = [derive(seed, "sample", dx, i) for i in range(len(rows))]
        rows = rows.rename(columns={"image_id": "prompted_by"})
        for generator, m in {"adapter": n, **dict.fromkeys(others, others_per_class)}.items():
            names = [f"{generator}_{dx}_{i:05d}" for i in range(m)]
            parts.append(rows[:m].assign(image_id=names, generator=generator)[list(COLUMNS)])
    plan = pd.concat(parts, ignore_index=True)
    unnamed = set(FEATURES) - set(wording.concepts if wording else FEATURES)
    return plan.assign(**dict.fromkeys(unnamed, np.nan)).astype(dict.fromkeys(FEATURES, float))


def _described(train: pd.DataFrame, dx: str) -> pd.DataFrame:
    of_class = train[train["dx"] == dx]
    if of_class.empty:
        raise ValueError(
            f"no valid description of a {dx} image in the train split: nothing to prompt {dx} with; name another "
            "describer in 02_describe.describers, or look there why its descriptions are not valid"
        )
    return of_class


def numbers(
    train: Sequence[str], per_class: int, seed: int, mode: str = "balanced", errors: pd.DataFrame | None = None
) -> dict[str, int]:
    """How many of 7 x per_class images each class gets; train: the dx of each train image. mode:

    - "balanced": all the same;
    - "proportional": as frequent as in train, at least one;
    - "random": the class of each image at random, all equally likely, at least one;
    - "curriculum": more of what a classifier gets wrong, by the `shares` of its errors on val, at least one.

    Counts are rounded by largest remainder. Raises ValueError for another mode, or a curriculum without errors.
    """
    total = per_class * len(DX)
    if mode == "balanced":
        return dict.fromkeys(DX, per_class)
    if mode == "random":
        classes = pd.Series([*DX, *(DX[derive(seed, "class", i) % len(DX)] for i in range(total - len(DX)))])
        return classes.value_counts().reindex(DX).to_dict()
    if mode == "proportional":
        weights = pd.Series(train).value_counts().reindex(DX, fill_value=0).to_numpy(float)
    elif mode == "curriculum" and errors is not None:
        weights = shares(errors[errors["feature"] == ""].set_index("dx")["error"].reindex(DX))
    else:
        raise ValueError(f"mode {mode!r}: one of {', '.join(MODES)}; a curriculum needs the errors of a classifier")
    ideal = weights / weights.sum() * (total - len(DX))  # beside the one of each
    floor = np.floor(ideal).astype(int)
    floor[np.argsort(floor - ideal, kind="stable")[: total - len(DX) - floor.sum()]] += 1
    return dict(zip(DX, (1 + floor).tolist(), strict=True))


def shares(errors: pd.Series) -> np.ndarray:
    """EVEN_SHARE / k + (1 - EVEN_SHARE) error / sum of errors: the share of each of k strata; they add up to 1.

    None vanishes, and the share rises linearly with the error. A stratum of unknown error (NaN) gets the mean of
    the known errors; without any error all are equal.
    """
    error = errors.fillna(errors.mean()).to_numpy(float)
    even = np.full(len(error), 1 / len(error))
    return even if not error.sum() > 0 else EVEN_SHARE * even + (1 - EVEN_SHARE) * error / error.sum()


def validation_errors(dx: Sequence[str], dx_read: Sequence[str], features: pd.DataFrame | None = None) -> pd.DataFrame:
    """How often a classifier errs on val, per class (feature "") and, with features, per class and present feature.

    dx, dx_read: true and predicted diagnoses (n,). features: the vocabulary's scores of each image (n rows); one is
    present from PRESENT on. Columns dx, feature, n, error = (wrong + 1) / (n + 2), Laplace's estimate, which few images
    move little.
    """
    table = pd.DataFrame({"dx": list(dx), "wrong": np.asarray(dx, object) != np.asarray(dx_read, object)})
    shown = {"": np.ones(len(table), bool)}
    if features is not None:
        shown |= {name: features[name].to_numpy(float) >= PRESENT for name in FEATURES if name in features}
    parts = []
    for feature, where in shown.items():
        part = table[where].groupby("dx")["wrong"].agg(["size", "sum"]).reset_index()
        parts.append(part.assign(feature=feature, n=part["size"], error=(part["sum"] + 1) / (part["size"] + 2)))
    return pd.concat(parts)[["dx", "feature", "n", "error"]].reset_index(drop=True)


def _rows(of_class: pd.DataFrame, n: int, sampling: str, seed: int, errors: pd.DataFrame | None) -> pd.DataFrame:
    """n train rows of a class to prompt with; a curriculum takes them from strata of rows that show a feature."""
    if errors is None or errors.empty:  # val holds no image of the class: nothing is known of its errors
        return resample(of_class, n, sampling, seed)
    strata = {
        row.feature: of_class[of_class[row.feature] >= PRESENT] if row.feature else of_class
        for row in errors.itertuples()
    }
    occupied = [len(rows) > 0 for rows in strata.values()]
    edges = np.cumsum(shares(errors["error"][occupied]))[:-1]
    stratum = np.searchsorted(edges, [derive(seed, "stratum", i) / 2**63 for i in range(n)], side="right")
    parts = []
    for k, (name, rows) in enumerate((name, rows) for name, rows in strata.items() if len(rows)):
        places = np.flatnonzero(stratum == k)
        parts.append(resample(rows, len(places), sampling, derive(seed, "stratum", name)).set_index(places))
    return pd.concat(parts).sort_index()
