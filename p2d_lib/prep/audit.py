"""What in a set would spoil results on it: leaks, doubtful labels, classes tied to skin tone, bad pictures.

Each function looks at tables and arrays and changes nothing; each is tested on faults of known number (plants.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import fft, stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from p2d_lib.instruments.copies import opponent_planes
from p2d_lib.instruments.intervals import Interval, resample
from p2d_lib.prep import splits
from p2d_lib.prep.pixels import DataError
from p2d_lib.report.tables import interval
from p2d_lib.vocabulary import DX

EMPTY = 3.0  # bits: noise around one grey level has less, log2(sd sqrt(2 pi e)) for a standard deviation up to 1.9
HAIRY, RULED = 0.01, 7  # share of the picture; ticks
BLURRED = 3.0  # robust standard deviations below the median of log sharpness
ITA_CATEGORIES = ("dark", "brown", "tan", "intermediate", "light", "very light")
ITA_EDGES = (-np.inf, -30, 10, 28, 41, 55, np.inf)  # degrees, of these


def leakage(cases: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """What crosses the split, in columns check and found (texts): lesions, which must be 0, and copies.

    pairs: `duplicates(cases, images)`.
    """
    found = {"lesions in more than one split": splits.shared_lesions(cases)}
    for kind, name in (("bytes", "identical pairs"), ("perceptual", "pairs that look alike")):
        rows = pairs[pairs["kind"] == kind]
        for where, those in (("", rows), (" across splits", rows[~rows["same_split"]])):
            apart = (~those["same_lesion"]).sum()
            found[f"{name}{where} (of these, of different lesions)"] = f"{len(those)} ({apart})"
    return pd.DataFrame({"check": list(found), "found": [str(value) for value in found.values()]})


def summary(
    cases: pd.DataFrame, pairs: pd.DataFrame, doubts: pd.DataFrame, tone: "ToneAssociation | None" = None
) -> pd.DataFrame:
    """The audit in one table, check and found (texts): `leakage`, the `flags` of cases, and what was found below."""
    named = {"is_empty": "empty pictures", "is_blurred": "blurred pictures", "has_hair": "hairy pictures",
             "has_ruler": "pictures with a ruler"}  # fmt: skip
    found = {name: cases[flag].sum() for flag, name in named.items()} | {"labels doubted": doubts["flagged"].sum()}
    found = {name: f"{n} ({n / len(cases):.1%})" for name, n in found.items()}
    if tone:
        strength = interval(*tone.epsilon2)
        found["diagnosis tied to skin tone, epsilon squared [95 % interval]"] = f"{strength}, p = {tone.p:.3g}"
    return pd.concat(
        [leakage(cases, pairs), pd.DataFrame(found.items(), columns=["check", "found"])], ignore_index=True
    )


def cheap_features(images: np.ndarray, measurements: pd.DataFrame) -> pd.DataFrame:
    """What a linear model needs to doubt a label: measurements, colours, and how coarse the structures are.

    images: uint8 (n, h, w, 3); measurements: their rows of `schemas.MEASUREMENTS`, whose index is kept. Colours are
    means and standard deviations of lightness and opponent colours, and means of the central half; coarseness is the
    logarithm of the energy in twelve rings of the cosine transform of the central three quarters.
    """
    h, w = images.shape[1:3]
    centre, spot = ((..., *(np.s_[n // part : n - n // part] for n in (h, w))) for part in (8, 4))
    frequency = np.hypot(*np.ogrid[: h - 2 * (h // 8), : w - 2 * (w // 8)]).ravel()
    rings = np.eye(14, dtype=np.float32)[np.digitize(frequency, np.geomspace(1, 0.75 * max(h, w), 13))][:, 1:13]
    pixels = []
    for planes in opponent_planes(images, balanced=False):
        energy = fft.dctn(planes[centre], axes=(2, 3), norm="ortho").reshape(len(planes), 3, -1) ** 2 @ rings
        parts = planes.mean((2, 3)), planes.std((2, 3)), planes[spot].mean((2, 3)), *np.moveaxis(np.log1p(energy), 1, 0)
        pixels.append(np.hstack(parts))
    table = pd.DataFrame(np.vstack(pixels), measurements.index).add_prefix("pixels_")
    return measurements.drop(columns="image_id").join(table)


def suspect_labels(features: pd.DataFrame, dx: Sequence[str], groups: Sequence[str], seed: int) -> pd.DataFrame:
    """Which labels a model that has not seen them doubts: dx, self_confidence (0..1), suggested, flagged, per row.

    Confident learning (Northcutt, Jiang, Chuang, JAIR 70, 2021): self_confidence is the probability of the given dx,
    suggested the likeliest of the dx whose probability reaches its own mean over the rows given it, and a label is
    flagged when that is another. Probabilities are those of linear discriminant analysis (shrunk after Ledoit, Wolf
    2004), out of up to five folds by group (lesion_id), and the mean over a group's rows.
    features: numbers, NaN allowed (n, p), e.g. `cheap_features`; dx: one per group. Raises ValueError for a dx with
    one group only.
    """
    table = pd.DataFrame({"dx": np.asarray(dx), "group": np.asarray(groups)}, features.index)
    lesions = table.drop_duplicates("group").set_index("group")["dx"]
    counts = lesions.value_counts()
    if counts.iloc[-1] < 2:
        raise ValueError(f"dx {counts.index[-1]!r} has one lesion: no model that has not seen it can know it")
    p = pd.DataFrame(0.0, features.index, sorted(counts.index))
    folds = StratifiedKFold(min(5, counts.iloc[-1]), shuffle=True, random_state=seed % 2**32)
    for _, out in folds.split(lesions, lesions):
        left_out = table["group"].isin(lesions.index[out])
        model = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True),
            StandardScaler(),
            LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        )
        model.fit(features[~left_out], table["dx"][~left_out])
        p.loc[left_out, model.classes_] = model.predict_proba(features[left_out])
    p = p.groupby(table["group"]).transform("mean")
    given = pd.get_dummies(table["dx"])[list(p)].astype(bool)
    confident = p.where(p >= p.where(given).mean(), -1)
    suggested = confident.idxmax(axis=1).where(confident.max(axis=1) >= 0, table["dx"])
    return table[["dx"]].assign(
        self_confidence=p.where(given).max(axis=1), suggested=suggested, flagged=suggested != table["dx"]
    )


class ToneAssociation(NamedTuple):
    """How far dx is tied to tone over n lesions: epsilon squared, p of no tie; lesions, median, quartiles per dx."""

    epsilon2: Interval
    p: float
    n: int
    medians: pd.DataFrame


def tone_association(cases: pd.DataFrame, tone: str = "ita", n_resamples: int = 1000, seed: int = 0) -> ToneAssociation:
    """Is the diagnosis tied to skin tone? The share of the variance of tone's ranks that dx explains, over lesions.

    tone: a column of cases, NaN unknown (ita; true_fitzpatrick on the phantom); a lesion has the median of its images.
    The share is H / (n - 1) of Kruskal & Wallis (JASA 1952) freed of what chance explains: epsilon squared (Kelley,
    PNAS 1935), 0 without association on average, 1 when tone decides. Its 95 % interval is the bootstrap's over
    lesions, less its bias; p comes from permuting dx. Raises ValueError unless two dx have a known tone.
    """
    known = cases.dropna(subset=tone).groupby("lesion_id").agg({"dx": "first", tone: "median"})
    codes, names = pd.factorize(known["dx"], sort=True)
    if len(names) < 2:
        raise ValueError(f"{tone} is known of {len(names)} dx; an association needs two")
    values, rng = known[tone].to_numpy(float), np.random.default_rng(seed)
    drawn = resample(known.index, n_resamples, seed)
    draws = np.array([_epsilon2(np.repeat(values, times), np.repeat(codes, times)) for times in drawn])
    permuted = np.array([_epsilon2(values, rng.permutation(codes)) for _ in range(n_resamples)])
    bias = draws[1:].mean() - draws[0]
    low, high = (np.quantile(draws[1:], (0.025, 0.975)) - bias).clip(0, 1)
    p = (1 + (permuted >= draws[0]).sum()) / (1 + n_resamples)
    of_dx = known.groupby("dx")[tone]
    medians = of_dx.agg(
        lesions="size", median="median", low=lambda v: v.quantile(0.25), high=lambda v: v.quantile(0.75)
    )
    return ToneAssociation(Interval(float(draws[0]), float(low), float(high)), float(p), len(known), medians)


def _epsilon2(values: np.ndarray, codes: np.ndarray) -> float:
    ranks = stats.rankdata(values)
    counts, sums = np.bincount(codes), np.bincount(codes, ranks)
    counts, sums = counts[counts > 0], sums[counts > 0]
    total = ((ranks - ranks.mean()) ** 2).sum()
    within = total - (counts * (sums / counts - ranks.mean()) ** 2).sum()
    return 1 - (within / (len(ranks) - len(counts))) / (total / (len(ranks) - 1)) if total else 0.0


def ita_category(ita: pd.Series) -> pd.Series:
    """ITA_CATEGORIES of angles in degrees: Del Bino, Bernerd, Br J Dermatol 169(s3), 2013."""
    return pd.cut(ita, ITA_EDGES, labels=ITA_CATEGORIES)


def ita_disagreement(cases: pd.DataFrame) -> pd.Series:
    """How far two methods agree on ITA (columns ita and ita_patches, degrees), over images where both have one.

    images; other_category (0..1, in another category of `ita_category`); mean_difference (ita_patches - ita) and
    low_limit, high_limit, between which 95 % of differences lie (Bland, Altman, Lancet 1986), degrees.
    """
    both = cases[["ita", "ita_patches"]].dropna()
    difference = both["ita_patches"] - both["ita"]
    mean, spread = difference.mean(), 1.96 * difference.std()
    other = ita_category(both["ita"]).astype(str) != ita_category(both["ita_patches"]).astype(str)
    found = {"images": len(both), "other_category": other.mean(), "mean_difference": mean}
    return pd.Series(found | {"low_limit": mean - spread, "high_limit": mean + spread})


def entropy_filter(cases: pd.DataFrame, thresholds: Sequence[float]) -> pd.DataFrame:
    """How many images of each dx and of all have at least so much entropy: counts, one row per threshold (bits)."""
    kept = {float(bits): cases.loc[cases["entropy"] >= bits, "dx"].value_counts() for bits in thresholds}
    table = pd.DataFrame(kept, [dx for dx in DX if (cases["dx"] == dx).any()]).T.fillna(0).astype(int)
    return table.assign(all=table.sum(axis=1)).rename_axis("bits")


def leave_out_flat(
    cases: pd.DataFrame, measurements: pd.DataFrame, quarantine: pd.DataFrame, min_entropy: float
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The three tables with train images of less entropy (bits) moved to quarantine; val and test stay as they are.

    Raises DataError where no train image of a dx would be left.
    """
    flat = (cases["split"] == "train") & (cases["entropy"] < min_entropy)
    gone = set(cases["dx"]) - set(cases.loc[(cases["split"] == "train") & ~flat, "dx"])
    if flat.any() and gone:
        raise DataError(f"01_prep.min_entropy {min_entropy} bits leaves no train image of {min(gone)!r}; lower it")
    reason = "entropy " + cases["entropy"].map("{:.2f}".format) + f" bits is below min_entropy {min_entropy}"
    out = cases[["image_id"]].assign(file=cases["path"], row=0, stage="image", reason=reason)[flat]
    kept = (table[~flat].reset_index(drop=True) for table in (cases, measurements))
    return *kept, pd.concat([quarantine, out], ignore_index=True)


def flags(cases: pd.DataFrame) -> pd.DataFrame:
    """What stands out of a picture: is_empty, is_blurred, has_hair, has_ruler, bool, with the index of cases.

    is_empty: entropy below EMPTY bits. is_blurred: log sharpness lies BLURRED robust standard deviations below the
    median, both taken over pictures that are not empty; the deviation is 1.4826 x the median distance of those below
    the median, for hair and rulers only reach upwards. has_hair: hair covers HAIRY of the picture or more. has_ruler:
    RULED ticks or more stand in a row. Descriptive: nothing is left out for a flag, and ridges of the palm count as
    ticks too.
    """
    empty = cases["entropy"] < EMPTY
    sharpness = np.log(cases["sharpness"].clip(lower=1e-3))
    median = sharpness[~empty].median()
    below = (median - sharpness)[~empty & (sharpness < median)]
    return pd.DataFrame(
        {
            "is_empty": empty,
            "is_blurred": ~empty & (median - sharpness > BLURRED * 1.4826 * below.median()),
            "has_hair": cases["hair"] >= HAIRY,
            "has_ruler": cases["ruler"] >= RULED,
        }
    )
